import { describe, expect, it } from "vitest";
import { clockFaults, exportFaults, pureListFaults, tagFaults, vendorFaults } from "./layers.ts";
import { ROOT } from "./repository.ts";

describe("layers", () => {
  it("gives each package exactly one known layer", () => expect(tagFaults(ROOT)).toEqual([]));
  it("lets packages be entered by their front door only", () => expect(exportFaults(ROOT)).toEqual([]));
  it("keeps vendors' clients in their adapters", () => expect(vendorFaults(ROOT)).toEqual([]));
  it("keeps the clock out of pure code", () => expect(clockFaults(ROOT)).toEqual([]));
  it("lints every pure package as pure", () => expect(pureListFaults(ROOT)).toEqual([]));
});
