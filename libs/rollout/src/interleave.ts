import type { Role } from "./assign.ts";
import { murmur3 } from "./murmur3.ts";

/** Two rankings of items, best first, to be shown as one. */
export interface Rankings<Item extends string | number> {
  readonly champion: readonly Item[];
  readonly challenger: readonly Item[];
  readonly salt: string;
  /** Who looks: the same one sees the same coins. Add the query where one unit asks many. */
  readonly unit: string;
  /** Most items shown. */
  readonly length: number;
}

/** A list to show, and which ranking gave each item. Kept with the answer, for `creditOf`. */
export interface Interleaved<Item extends string | number> {
  readonly items: readonly Item[];
  /** teams[i] gave items[i]. */
  readonly teams: readonly Role[];
  /**
   * Probability of this draft, items and teams, over salts: 1/2 per toss, one toss per two items. The ranking that
   * gives items[2k] is the champion with probability 1/2, whatever was drawn before.
   */
  readonly propensity: number;
}

/**
 * Team-draft interleaving (Radlinski, Kurup and Joachims, "How does clickthrough data reflect retrieval quality?",
 * CIKM 2008, algorithm 2): in each round a coin says which ranking goes first, and each gives its best item that is
 * not shown yet. As in the paper, the list ends when a ranking has nothing left to give, or at `length`. The coin of
 * round k is the highest bit of MurmurHash3 of k in decimal, seeded with that of the unit, seeded with that of the salt.
 * Throws a RangeError for a length that is not a whole number of at least 1.
 */
export function interleave<Item extends string | number>(rankings: Rankings<Item>): Interleaved<Item> {
  const { salt, unit, length } = rankings;
  if (!Number.isInteger(length) || length < 1) {
    throw new RangeError(`length is ${length}: give a whole number of at least 1`);
  }
  const seed = murmur3(unit, murmur3(salt, 0));
  const shown = new Set<Item>();
  const teams: Role[] = [];
  const next = { champion: 0, challenger: 0 };
  /** Whether a ranking has an item left that is not shown; `next` is then its place. */
  const canGive = (role: Role): boolean => {
    const ranking = rankings[role];
    while (next[role] < ranking.length && shown.has(ranking[next[role]] as Item)) next[role]++;
    return next[role] < ranking.length;
  };
  let tosses = 0;
  let first: Role = "champion";
  while (shown.size < length && canGive("champion") && canGive("challenger")) {
    const opensRound = shown.size % 2 === 0;
    if (opensRound) first = murmur3(String(tosses++), seed) >= 2 ** 31 ? "champion" : "challenger";
    const team = opensRound ? first : otherThan(first);
    shown.add(rankings[team][next[team]] as Item);
    teams.push(team);
  }
  return { items: [...shown], teams, propensity: 2 ** -tosses };
}

/** Clicks on items that each ranking gave, and the ranking that has more; null: neither. */
export interface Credit {
  readonly champion: number;
  readonly challenger: number;
  readonly winner: Role | null;
}

/**
 * Credits each clicked item, once, to the ranking that gave it. Where users do not care which ranking an item came
 * from, both win equally often, wherever on the list they click.
 * Throws a RangeError for an item that was not shown: the clicks belong to another answer.
 */
export function creditOf<Item extends string | number>(
  { items, teams }: Pick<Interleaved<Item>, "items" | "teams">,
  clicked: Iterable<Item>,
): Credit {
  const credit = { champion: 0, challenger: 0 };
  for (const item of new Set(clicked)) {
    const team = teams[items.indexOf(item)];
    if (team === undefined) {
      throw new RangeError(
        `clicked has ${JSON.stringify(item)}, which was not shown: match clicks to answers`,
      );
    }
    credit[team]++;
  }
  const lead = credit.challenger - credit.champion;
  return { ...credit, winner: lead === 0 ? null : lead > 0 ? "challenger" : "champion" };
}

const otherThan = (role: Role): Role => (role === "champion" ? "challenger" : "champion");
