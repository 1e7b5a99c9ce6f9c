/**
 * What the main thread and a confined worker say to each other. Bytes move under credit, one `needInput` or `more` per message taken;
 * those of a file do not move.
 */
import type { FaultMessage } from '../faultMessage.ts'

export type ToJob =
  | { readonly kind: 'start'; readonly root: string; readonly module: string; readonly args: unknown; /** Of the file that is the input; undefined: it comes in chunks, if at all. */ readonly file: number | undefined }
  | { readonly kind: 'grown'; readonly length: number }
  | { readonly kind: 'chunks'; readonly chunks: readonly Uint8Array[] }
  | { readonly kind: 'inputEnd' }
  | { readonly kind: 'inputFailed'; readonly fault: FaultMessage }
  | { readonly kind: 'more' }
  | { readonly kind: 'abort' }

export type FromJob =
  | { readonly kind: 'needInput' }
  | { readonly kind: 'chunk'; readonly bytes: Uint8Array }
  | { readonly kind: 'done'; readonly result: unknown }
  | { readonly kind: 'failed'; readonly fault: FaultMessage; /** The thread stands in no known root any more. */ readonly spoiled: boolean }

/** Messages on their way in each direction before the sender waits. */
export const window = 4
