/**
 * Blob uploads between requests. The ingest is kept open, so that its hash goes on where the last chunk ended; one that
 * nobody has touched for a while is let go (its bytes stay) and taken up again by the next request, also after a restart.
 */
import { uuid4 } from '#base/random.ts'
import type { Random } from '#base/random.ts'
import type { Clock } from '#base/clock.ts'
import { Fault, isFault } from '#base/fault.ts'
import { KeyedSerial } from '#base/task.ts'
import type { BlobIngester, Ingest } from '#oci/blobs/contract.ts'
import type { Repositories } from './repositories.ts'

/** Uploads kept open at a time; the one touched longest ago is let go first. */
const maxOpen = 256
const idleMs = 5 * 60_000

export interface UploadsParts {
  readonly blobs: BlobIngester
  readonly repositories: Repositories
  readonly clock: Clock
  readonly random: Random
}

interface Open {
  readonly ingest: Ingest
  touchedAtMs: number
}

export class Uploads implements AsyncDisposable {
  readonly #parts: UploadsParts
  /** In order of last touch. */
  readonly #open = new Map<string, Open>()
  readonly #serial = new KeyedSerial<string>()

  constructor(parts: UploadsParts) {
    this.#parts = parts
  }

  async begin(repository: string): Promise<string> {
    const id = uuid4(this.#parts.random)
    const ingest = await this.#parts.blobs.begin({ id })
    await this.#parts.repositories.beginUpload(repository, id)
    this.#touch(id, ingest)
    await this.#letGo()
    return id
  }

  /** Runs `task` with the upload's ingest; requests to one upload run one after another. `notFound` for an unknown id. */
  async with<T>(repository: string, id: string, task: (ingest: Ingest) => Promise<T>): Promise<T> {
    return await this.#serial.run(id, async () => {
      if (!(await this.#parts.repositories.ownsUpload(repository, id))) throw unknownUpload(id)
      const ingest = this.#open.get(id)?.ingest ?? (await this.#resume(repository, id))
      this.#touch(id, ingest)
      const result = await task(ingest)
      await this.#letGo(id)
      return result
    })
  }

  async #resume(repository: string, id: string): Promise<Ingest> {
    try {
      return await this.#parts.blobs.resume(id)
    } catch (error) {
      if (!isFault(error, 'notFound')) throw error
      await this.#parts.repositories.endUpload(repository, id)
      throw unknownUpload(id)
    }
  }

  /** Forgets an upload that was committed or aborted. To be called inside `with`. */
  async end(repository: string, id: string): Promise<void> {
    this.#open.delete(id)
    await this.#parts.repositories.endUpload(repository, id)
  }

  #touch(id: string, ingest: Ingest): void {
    this.#open.delete(id)
    this.#open.set(id, { ingest, touchedAtMs: this.#parts.clock.monotonicMs() })
  }

  async #letGo(keep?: string): Promise<void> {
    const now = this.#parts.clock.monotonicMs()
    for (const [id, open] of this.#open) {
      if (this.#open.size <= maxOpen && now - open.touchedAtMs < idleMs) return
      if (id === keep) continue
      await this.#serial.run(id, async () => {
        if (this.#open.get(id) !== open) return
        this.#open.delete(id)
        await open.ingest.release()
      })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const [id, open] of this.#open) await this.#serial.run(id, () => open.ingest.release())
    this.#open.clear()
  }
}

function unknownUpload(id: string): Fault {
  return new Fault('notFound', `there is no upload '${id}' in this repository: begin one with POST`, { details: { reason: 'BLOB_UPLOAD_UNKNOWN' } })
}
