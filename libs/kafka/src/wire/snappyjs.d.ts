/** The package brings no types. */
declare module "snappyjs" {
  const snappy: {
    compress(data: Buffer): Uint8Array;
    /** Throws when the data would be longer than `maxLength` bytes. */
    uncompress(data: Buffer, maxLength?: number): Uint8Array;
  };
  export default snappy;
}
