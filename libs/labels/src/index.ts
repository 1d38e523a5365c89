/** Labels: joins the vectors of a partition with the labels that tell what was true. */

export * from "./label-join.ts";
