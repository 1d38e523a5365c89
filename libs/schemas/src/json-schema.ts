import { Rejection, readJsonObject } from "@millrace/events";
import { Ajv, type Options, type ValidateFunction } from "ajv";
import { Ajv2019 } from "ajv/dist/2019.js";
import { Ajv2020 } from "ajv/dist/2020.js";
import { type Decode, PayloadError, type RegisteredSchema, SchemaError } from "./schema.ts";

const OPTIONS: Options = {
  // A registry holds schemas of many hands: what is unknown in them means nothing, as the specification says.
  strict: false,
  validateFormats: false,
  logger: false,
};

/**
 * The decoder for a JSON Schema of draft 6 or 7 (also where it names none), 2019-09 or 2020-12: the payload is checked
 * against it, then is an event in JSON. `format` is a note, as in the newer drafts. Throws a SchemaError.
 */
export function createJsonSchemaDecoder({ text, references }: RegisteredSchema): Decode {
  const schema = parse(text, "the schema");
  const ajv = validatorFor(schema);
  let validate: ValidateFunction;
  try {
    for (const { name, text: referred } of references) ajv.addSchema(parse(referred, name), name);
    validate = ajv.compile(schema);
  } catch (error) {
    throw new SchemaError((error as Error).message, { cause: error });
  }
  return (payload) => {
    const data = readJsonObject(payload, "the payload");
    if (data instanceof Rejection || validate(data) === true) return data;
    const [first] = validate.errors ?? [];
    throw new PayloadError(`${first?.instancePath || "the payload"} ${first?.message ?? "is not valid"}`);
  };
}

type SchemaObject = Readonly<Record<string, unknown>>;

function validatorFor(schema: SchemaObject | boolean): Ajv {
  const draft = typeof schema === "object" ? schema["$schema"] : undefined;
  if (draft === undefined) return new Ajv(OPTIONS);
  const version = typeof draft === "string" ? /draft\/20\d\d-\d\d|draft-0[67]/.exec(draft)?.[0] : undefined;
  switch (version) {
    case "draft/2020-12":
      return new Ajv2020(OPTIONS);
    case "draft/2019-09":
      return new Ajv2019(OPTIONS);
    case "draft-07":
      return new Ajv(OPTIONS);
    case "draft-06":
      return new Ajv(OPTIONS).addMetaSchema(DRAFT_6);
    default:
      throw new SchemaError(`$schema is ${JSON.stringify(draft)}, not draft 6, 7, 2019-09 or 2020-12`);
  }
}

/** What draft 6 checks in a schema, draft 7 checks too. */
const DRAFT_6: SchemaObject = {
  $id: "http://json-schema.org/draft-06/schema#",
  $ref: "http://json-schema.org/draft-07/schema#",
};

function parse(text: string, what: string): SchemaObject | boolean {
  let schema: unknown;
  try {
    schema = JSON.parse(text);
  } catch (error) {
    throw new SchemaError(`${what} is not JSON`, { cause: error });
  }
  if (
    typeof schema === "boolean" ||
    (typeof schema === "object" && schema !== null && !Array.isArray(schema))
  ) {
    return schema as SchemaObject | boolean;
  }
  throw new SchemaError(`${what} is not an object`);
}
