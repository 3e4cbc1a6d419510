/** Version of the wire protocol: the first byte of every batch. Raised only when an older peer could misread a record. */
export const PROTOCOL_VERSION = 1;
