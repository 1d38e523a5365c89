"""Writes records with Confluent's own Python serialisers, and some that are wrong. Reads its task as JSON from
standard input: brokers, username, password, registry (URL), topics {avro, protobuf, json}, atMs."""

import decimal
import json
import sys

from confluent_kafka import Producer
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2

task = json.load(sys.stdin)
registry = SchemaRegistryClient({"url": task["registry"]})
producer = Producer(
    {
        "bootstrap.servers": task["brokers"],
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": task["username"],
        "sasl.password": task["password"],
    }
)
AT_MS = task["atMs"]
PNG = b"\x89PNG"


def context(topic):
    return SerializationContext(topic, MessageField.VALUE)


def send(topic, value, headers=None):
    producer.produce(topic, value=value, key=b"k", partition=0, headers=headers or [])


# --- Avro: a logical type of each kind, an enum, a union with null, bytes, and a type of another subject.
PLACE = {"type": "record", "name": "Place", "namespace": "plant", "fields": [{"name": "city", "type": "string"}]}
MADE = {
    "type": "record",
    "name": "Made",
    "namespace": "plant",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "price", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 4}]},
        {"name": "count", "type": "long"},
        {"name": "ok", "type": "boolean"},
        {"name": "ratio", "type": "float"},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["FAST", "SLOW"]}},
        {"name": "photo", "type": ["null", "bytes"]},
        {"name": "place", "type": "plant.Place"},
    ],
}
registry.register_schema("plant-place", Schema(json.dumps(PLACE), "AVRO"))
schema = Schema(json.dumps(MADE), "AVRO", [SchemaReference("plant.Place", "plant-place", 1)])
avro = AvroSerializer(registry, schema)
topic = task["topics"]["avro"]


def made(id, **more):
    record = {
        "id": id,
        "at": AT_MS,
        "price": decimal.Decimal("12.3400"),
        "count": 7,
        "ok": True,
        "ratio": 0.5,
        "kind": "SLOW",
        "photo": PNG,
        "place": {"city": "rome"},
    }
    return avro({**record, **more}, context(topic))


first = made("a-1")
send(topic, first)
send(topic, made("a-2", price=None, photo=None, count=-(2**53) + 1))
# The schema's id in a header, as newer serialisers can write it.
whole = made("a-3")
send(topic, whole[5:], [("__value_schema_id", whole[:5])])
send(topic, made("a-4", count=2**53))
send(topic, made("a-5", price=decimal.Decimal("0.0001")))
send(topic, made("a-6", photo=b"x" * 2000))
send(topic, first[:-4])
send(topic, b"\x00\x7f\xff\xff\xff" + first[5:])
send(topic, b'{"id":"a-7"}')
send(topic, first)


# Schemas change: a field more does no harm; a value or a type that the line does not know is refused.
def evolved(id, name, type, **more):
    """A record by a version of the schema in which one field is another one, or more."""
    fields = [field for field in MADE["fields"] if field["name"] not in (name, "place", "price")]
    schema = json.dumps({**MADE, "fields": [*fields, {"name": name, "type": type}]})
    record = {"id": id, "at": AT_MS, "count": 7, "ok": True, "ratio": 0.5, "kind": "SLOW", "photo": None, **more}
    return AvroSerializer(registry, schema)(record, context(topic))


send(topic, evolved("a-8", "extra", "string", extra="new"))
send(topic, evolved("a-9", "kind", {"type": "enum", "name": "Kind2", "symbols": ["ODD"]}, kind="ODD"))
send(topic, evolved("a-10", "count", "string", count="7"))
send(topic, evolved("a-11", "ratio", ["null", "double"], ratio=None))

# --- Protobuf: two messages in one file, an import of another subject, a well-known type.
file = descriptor_pb2.FileDescriptorProto(name="plant/place.proto", package="plant", syntax="proto3")
message = file.message_type.add(name="Place")
message.field.add(name="city", number=1, type=9, label=1)
made_file = descriptor_pb2.FileDescriptorProto(
    name="plant/made.proto",
    package="plant",
    syntax="proto3",
    dependency=["plant/place.proto", "google/protobuf/timestamp.proto"],
)
kind = made_file.enum_type.add(name="Kind")
kind.value.add(name="FAST", number=0)
kind.value.add(name="SLOW", number=1)
made_file.message_type.add(name="Other").field.add(name="x", number=1, type=5, label=1)
message = made_file.message_type.add(name="Made")
message.field.add(name="id", number=1, type=9, label=1)
message.field.add(name="at", number=2, type=11, type_name=".google.protobuf.Timestamp", label=1)
message.field.add(name="count", number=3, type=3, label=1)
message.field.add(name="kind", number=4, type=14, type_name=".plant.Kind", label=1)
message.field.add(name="photo", number=5, type=12, label=1)
message.field.add(name="place", number=6, type=11, type_name=".plant.Place", label=1)
message.field.add(name="ok", number=7, type=8, label=1, proto3_optional=True, oneof_index=0)
message.oneof_decl.add(name="_ok")
message.field.add(name="ratio", number=8, type=1, label=1)
pool = descriptor_pool.DescriptorPool()
pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
pool.AddSerializedFile(file.SerializeToString())
pool.AddSerializedFile(made_file.SerializeToString())
Made = message_factory.GetMessageClass(pool.FindMessageTypeByName("plant.Made"))
Other = message_factory.GetMessageClass(pool.FindMessageTypeByName("plant.Other"))
topic = task["topics"]["protobuf"]


def proto(id, **more):
    made = Made(id=id, count=7, kind=1, photo=PNG, ratio=0.5)
    made.at.FromMilliseconds(AT_MS)
    made.place.city = "rome"
    for name, value in more.items():
        setattr(made, name, value)
    return made


serialise = ProtobufSerializer(Made, registry)
send(topic, serialise(proto("p-1", ok=False), context(topic)))
send(topic, serialise(proto("p-2", count=0, kind=0), context(topic)))
send(topic, serialise(proto("p-3", count=2**53), context(topic)))
whole = serialise(proto("p-4"), context(topic))
send(topic, whole[:-2])
# Message 1 of the file, by its indexes: Other has none of the stream's fields.
send(topic, ProtobufSerializer(Other, registry)(Other(x=1), context(topic)))

# --- JSON Schema, with a reference.
DRAFT = "http://json-schema.org/draft-07/schema#"
KIND = {"$schema": DRAFT, "$id": "kind.json", "type": "string", "enum": ["FAST", "SLOW"]}
registry.register_schema("plant-kind", Schema(json.dumps(KIND), "JSON"))
JSON_MADE = {
    "$schema": DRAFT,
    "title": "Made",
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "at": {"type": "integer"},
        "count": {"type": "integer", "minimum": 0},
        "kind": {"$ref": "kind.json"},
    },
    "required": ["id", "at"],
}
schema = Schema(json.dumps(JSON_MADE), "JSON", [SchemaReference("kind.json", "plant-kind", 1)])
serialise = JSONSerializer(schema, registry)
topic = task["topics"]["json"]
value = serialise({"id": "j-1", "at": AT_MS, "count": 7, "kind": "SLOW"}, context(topic))
send(topic, value)
send(topic, value[:5] + json.dumps({"id": "j-2", "at": AT_MS, "count": -1}).encode())
send(topic, value[:5] + json.dumps({"id": "j-3", "at": AT_MS, "kind": "ODD"}).encode())
send(topic, value[:5] + b"{")

if producer.flush(30) > 0:
    sys.exit("some records were not acknowledged")
