/**
 * A registry over a storage: answers HTTP and says what it needs kept. It holds no state of its own, so that any number of them
 * may serve one storage.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Clock } from '#base/clock.ts'
import type { Logger } from '#base/log.ts'
import type { Random } from '#base/random.ts'
import type { Digest } from '#oci/digest.ts'
import { RegistryAuth } from './auth/registry-auth.ts'
import { pruneLinks } from './collect/links.ts'
import { Handler } from './http/handler.ts'
import { Manifests } from './manifests.ts'
import { Repositories } from './repositories.ts'
import type { Records, RegistryStorage } from './storage/contract.ts'
import { Uploads } from './uploads.ts'

export interface RegistryOptions {
  /** Ended by who opened it. */
  readonly storage: RegistryStorage
  /** Text of an htpasswd file (bcrypt). Neither this nor `engine`: everybody may do everything. */
  readonly htpasswd?: string
  /** Default true. */
  readonly anonymousPull?: boolean
  /** The credential with which the engine of this machine pushes: its mounts copy nothing. */
  readonly engine?: { readonly username: string; readonly password: string }
  /** What nobody has used for so long may be collected, milliseconds; a day by default. Longer than any push lasts. */
  readonly graceMs?: number
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
}

export interface Registry extends AsyncDisposable {
  /** For `http.createServer(registry.handle)`. Never rejects. */
  readonly handle: (req: IncomingMessage, res: ServerResponse) => Promise<void>
  /** Every digest that a repository links: roots for the collector of blobs. */
  roots(): AsyncGenerator<Digest>
  /** Takes links of blobs away that no manifest of their repository needs and that are older than the grace. Answers how many. */
  prune(): Promise<number>
}

const dayMs = 24 * 3_600_000

export async function openRegistry(options: RegistryOptions): Promise<Registry> {
  const { storage } = options
  const graceMs = options.graceMs ?? dayMs
  const repositories = new Repositories({ records: storage.records, clock: options.clock, renewAfterMs: graceMs / 4 })
  const auth = new RegistryAuth({ ...options, tokenKey: await tokenKey(storage.records, options.random) })
  const manifests = new Manifests(storage.content, repositories)
  const handler = new Handler({ auth, content: storage.content, manifests, repositories, uploads: new Uploads(options) }, options.logger)
  return {
    handle: (req, res) => handler.handle(req, res),
    roots: () => repositories.roots(),
    [Symbol.asyncDispose]: async () => {},
    prune: () => pruneLinks(repositories, storage.content, options.clock.nowMs() - graceMs),
  }
}

/** The key that signs tokens, made once and kept in the storage: every registry over it signs alike. */
async function tokenKey(records: Records, random: Random): Promise<Uint8Array> {
  const known = await records.read('token.key')
  if (known !== undefined) return known
  await records.create('token.key', Buffer.from(random.bytes(32)).toString('hex'))
  return await tokenKey(records, random)
}
