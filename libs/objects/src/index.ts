/** The object store over S3, with the `minio` client. The port is `ObjectStore` of @millrace/runtime. */
export * from "./s3.ts";
