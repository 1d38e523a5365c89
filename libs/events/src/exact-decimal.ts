/** A decimal number as a schema carries it, exact: `unscaled` / 10^`scale`. `scale` is a whole number, 0 or more. */
export class ExactDecimal {
  readonly unscaled: bigint;
  readonly scale: number;
  constructor(unscaled: bigint, scale: number) {
    this.unscaled = unscaled;
    this.scale = scale;
  }

  /** The number in units of 10^-places; null when it has more places than that. */
  minorUnits(places: number): bigint | null {
    if (places >= this.scale) return this.unscaled * 10n ** BigInt(places - this.scale);
    const unit = 10n ** BigInt(this.scale - places);
    return this.unscaled % unit === 0n ? this.unscaled / unit : null;
  }

  /** Plain decimal text, for example `-12.50`. */
  toString(): string {
    const magnitude = this.unscaled < 0n ? -this.unscaled : this.unscaled;
    const digits = magnitude.toString().padStart(this.scale + 1, "0");
    const whole = digits.slice(0, digits.length - this.scale);
    const fraction = this.scale === 0 ? "" : `.${digits.slice(-this.scale)}`;
    return `${this.unscaled < 0n ? "-" : ""}${whole}${fraction}`;
  }
}
