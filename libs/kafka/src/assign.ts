/** A member of the group, as it describes itself when it joins. */
export interface Member {
  readonly id: string;
  /** Partition numbers that it works on, also while it is giving them up. */
  readonly holds: readonly number[];
  /** When it was told what is its own, wall-clock ms: a member that was away may hold what is another's by now. */
  readonly toldAtMs: number;
  /** Partition numbers that its process had before, whose local state it may still have. */
  readonly knows: readonly number[];
}

/**
 * Who works on which of the partition numbers 0 to `partitions` - 1, by member id, ascending. The numbers are shared
 * equally; nobody gives up more than equality asks for; what is free goes first to those who know it. A number moves
 * in two rounds: as long as somebody else holds it, it is given to nobody, and its holder, who is not given it, lets go
 * of it and joins again (as KIP-429, "cooperative" rebalancing).
 */
export function assign(members: readonly Member[], partitions: number): Map<string, number[]> {
  const sorted = members.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  const holder = holders(sorted, partitions);
  const target = share(sorted, holder, partitions);
  const given = new Map<string, number[]>(sorted.map(({ id }) => [id, []]));
  target.forEach((member, partition) => {
    const held = holder[partition];
    if (held === undefined || held === member) given.get(member.id)?.push(partition);
  });
  return given;
}

/**
 * By partition number, who holds it: of several, the one who was given it last. Where clocks differ by more than a
 * member can be away without being missed, it moves once more than it need.
 */
function holders(members: readonly Member[], partitions: number): (Member | undefined)[] {
  const holder = new Array<Member | undefined>(partitions).fill(undefined);
  for (const member of members) {
    for (const partition of member.holds) {
      const other = holder[partition];
      if (partition < partitions && (other === undefined || other.toldAtMs < member.toldAtMs)) {
        holder[partition] = member;
      }
    }
  }
  return holder;
}

/** By partition number, who shall have it in the end. */
function share(
  members: readonly Member[],
  holder: readonly (Member | undefined)[],
  partitions: number,
): readonly Member[] {
  const claims = (member: Member): number =>
    holder.filter((one) => one === member).length +
    member.knows.filter((partition) => partition < partitions && holder[partition] === undefined).length;
  const least = Math.floor(partitions / members.length);
  let larger = partitions % members.length;
  // Those who hold or had most get the larger shares: least is given up.
  const room = new Map<Member, number>();
  for (const member of members.toSorted((a, b) => claims(b) - claims(a))) {
    room.set(member, least + (larger > 0 ? 1 : 0));
    larger--;
  }
  const target = new Array<Member | undefined>(partitions).fill(undefined);
  const give = (partition: number, member: Member | undefined): void => {
    const left = member === undefined ? 0 : (room.get(member) ?? 0);
    if (member === undefined || left === 0 || target[partition] !== undefined) return;
    target[partition] = member;
    room.set(member, left - 1);
  };
  for (const member of members) {
    for (const partition of member.holds) if (holder[partition] === member) give(partition, member);
  }
  for (const member of members) {
    for (const partition of member.knows) if (partition < partitions) give(partition, member);
  }
  const free = members.values();
  let member = free.next().value;
  for (let partition = 0; partition < partitions; partition++) {
    while (member !== undefined && room.get(member) === 0) member = free.next().value;
    give(partition, member);
  }
  return target as Member[];
}
