import { InvalidArgumentError } from "commander";

/** Arguments and option values as commands take them; each throws commander's error for what is none. */

export function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0) || !Number.isFinite(value)) throw new InvalidArgumentError("It is a number above 0.");
  return value;
}

export function wholeNumber(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError("It is a whole number above 0.");
  return Number(text);
}

/** A share of the requests. */
export function share(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value < 1)) throw new InvalidArgumentError("It is a number above 0 and below 1.");
  return value;
}

export function isoTime(text: string): number {
  const ms = Date.parse(text);
  if (Number.isNaN(ms)) throw new InvalidArgumentError("It is an ISO time such as 2001-01-05T00:00Z.");
  return ms;
}

export function shockTime(text: string): "off" | number {
  if (text === "off") return "off";
  const ms = Date.parse(text);
  if (Number.isNaN(ms))
    throw new InvalidArgumentError("It is `off` or an ISO time such as 2001-01-05T00:00Z.");
  return ms;
}
