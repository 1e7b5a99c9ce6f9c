/**
 * Jobs that touch trees we do not trust (layers, container roots, build contexts). A job runs in a worker thread whose
 * root folder is `root` (unshare(CLONE_FS) + chroot), so that no symlink, `..` or hard link can lead out of it.
 *
 * A job module exports `async function job(args, context)`; it is imported before the chroot and must import everything
 * it needs statically. Inside it uses **synchronous** `node:fs` only (the thread pool's threads stand outside the new
 * root); paths are absolute from the new root. It may await `context.input` and `context.output`.
 */
import type { Readable } from 'node:stream'
import type { RawFiles } from './raw-files.ts'

/** What a job module's `job` function receives beside its arguments. Bytes move by message with credit, so both directions have backpressure. */
export interface JobContext {
  /** The bytes of `options.input`; empty when none was given. */
  readonly input: AsyncIterable<Uint8Array>
  /** Sends bytes to the caller's output stream; resolves when there is room for more. */
  output(chunk: Uint8Array): Promise<void>
  /** Aborted when the caller gave up. */
  readonly signal: AbortSignal
  /** What Node's `fs` cannot do: device nodes, extended attributes, exact times. */
  readonly files: RawFiles
}

export type JobFunction<A, R> = (args: A, context: JobContext) => Promise<R>

/** A file that a job reads, be it while it is still written: no byte of it passes through the caller's thread. */
export interface FileInput {
  /** Open for reading until the job has ended. */
  readonly descriptor: number
  /** Tells how things stand at once and from then on. Answers how to end that. */
  follow(reader: FileFollower): () => void
}

export interface FileFollower {
  /** The file may be read from its start to here, which is never less than before. */
  grown(length: number): void
  /** Nothing will be added. */
  ended(): void
  /** What is missing will not come. */
  failed(error: unknown): void
}

export interface JobOptions {
  readonly input?: Readable | FileInput
  /** Nobody but the job will read the chunks of a stream: they are handed over without a copy. */
  readonly inputIsOurs?: boolean
  readonly signal?: AbortSignal
}

export interface RunningJob<R> extends AsyncDisposable {
  /** What the job wrote with `context.output`. Must be consumed (or the job waits). Ends when the job does; fails when the job fails. */
  readonly output: Readable
  /** The job's answer (structured clone). Rejects with the Fault the job threw, or `internal`. */
  readonly result: Promise<R>
}

export interface ConfinedJobs {
  /** Runs `job` (URL of its module) with `root` as its root folder, and waits for the answer. Output is discarded. */
  run<A, R>(root: string, job: URL, args: A, options?: JobOptions): Promise<R>
  /** As `run`, for a job that produces bytes. */
  start<A, R>(root: string, job: URL, args: A, options?: JobOptions): RunningJob<R>
}
