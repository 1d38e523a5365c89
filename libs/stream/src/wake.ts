/** Lets one loop rest until somebody rings; a ring while it works is not lost. */
export class Wake {
  #isRung = false;
  #end: (() => void) | null = null;

  ring(): void {
    if (this.#end === null) this.#isRung = true;
    else this.#end();
  }

  /** Resolves when it was rung since the last wait, or after `ms` (Infinity: never by itself). */
  wait(ms: number): Promise<void> {
    if (this.#isRung || ms <= 0) {
      this.#isRung = false;
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      let timer: NodeJS.Timeout | undefined;
      const end = (): void => {
        clearTimeout(timer);
        this.#end = null;
        resolve();
      };
      if (ms < Number.POSITIVE_INFINITY) timer = setTimeout(end, ms);
      this.#end = end;
    });
  }
}
