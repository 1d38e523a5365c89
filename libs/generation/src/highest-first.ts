/**
 * The highest numbers in falling order, up to `most` of them. A heap: of a vocabulary few are asked for, for which
 * sorting it all takes several times as long.
 */
export function* highestFirst(numbers: Float64Array, most: number): Generator<number, void, undefined> {
  const heap = numbers.slice();
  for (let at = (heap.length >> 1) - 1; at >= 0; at--) sink(heap, at, heap.length);
  for (let size = heap.length, left = most; size > 0 && left > 0; left--) {
    yield heap[0] as number;
    size--;
    heap[0] = heap[size] as number;
    sink(heap, 0, size);
  }
}

/** Lets the number at `at` sink to where none below it is higher; the heap is the first `size` numbers. */
function sink(heap: Float64Array, at: number, size: number): void {
  const number = heap[at] as number;
  let to = at;
  for (let child = 2 * to + 1; child < size; child = 2 * to + 1) {
    if (child + 1 < size && (heap[child + 1] as number) > (heap[child] as number)) child++;
    if ((heap[child] as number) <= number) break;
    heap[to] = heap[child] as number;
    to = child;
  }
  heap[to] = number;
}
