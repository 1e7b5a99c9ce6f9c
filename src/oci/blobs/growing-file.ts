/** A file that confined jobs read while somebody writes it, or that is whole already. */
import { open } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import type { FileFollower, FileInput } from '#linux/contract/confined.ts'

export class GrowingFile implements FileInput, AsyncDisposable {
  readonly #handle: FileHandle
  readonly #followers = new Set<FileFollower>()
  #length = 0
  #end: 'open' | 'ended' | { readonly error: unknown } = 'open'

  private constructor(handle: FileHandle) {
    this.#handle = handle
  }

  /** Of the file's bytes none may be read yet. */
  static async open(path: string): Promise<GrowingFile> {
    return new GrowingFile(await open(path, 'r'))
  }

  get descriptor(): number {
    return this.#handle.fd
  }

  grow(length: number): void {
    this.#length = length
    for (const follower of this.#followers) follower.grown(length)
  }

  end(): void {
    this.#end = 'ended'
    for (const follower of this.#followers) follower.ended()
  }

  fail(error: unknown): void {
    this.#end = { error }
    for (const follower of this.#followers) follower.failed(error)
  }

  follow(follower: FileFollower): () => void {
    this.#followers.add(follower)
    if (this.#length > 0) follower.grown(this.#length)
    if (this.#end === 'ended') follower.ended()
    else if (this.#end !== 'open') follower.failed(this.#end.error)
    return () => void this.#followers.delete(follower)
  }

  /** To be called when no job reads it any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close()
  }
}
