/**
 * The embedded registry: opens its folder and answers HTTP. It shares its blobs with the engine; a blob is visible in a
 * repository only through a link below `<root>/repositories`.
 */
import { mkdir, readFile } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { join } from 'node:path'
import { systemErrorCode } from '#base/fault.ts'
import { writeFileAtomically } from '#base/files.ts'
import type { Clock } from '#base/clock.ts'
import type { Logger } from '#base/log.ts'
import type { Random } from '#base/random.ts'
import type { Blobs } from '#oci/blobs/contract.ts'
import type { Digest } from '#oci/digest.ts'
import { maxManifestBytes, parseManifest, referencedDescriptors } from '#oci/manifest.ts'
import { RegistryAuth } from './auth/registry-auth.ts'
import { createRegistryHandler } from './http/handler.ts'
import { Repositories } from './repositories.ts'

export interface RegistryOptions {
  /** Its own folder; made when missing. */
  readonly root: string
  readonly blobs: Blobs
  /** Text of an htpasswd file (bcrypt). Neither this nor `engine`: everybody may do everything. */
  readonly htpasswd?: string
  /** Default true. */
  readonly anonymousPull?: boolean
  /** The credential with which the engine of this machine pushes: its mounts copy nothing. */
  readonly engine?: { readonly username: string; readonly password: string }
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
}

export interface Registry extends AsyncDisposable {
  /** For `http.createServer(registry.handle)`. Never rejects. */
  readonly handle: (req: IncomingMessage, res: ServerResponse) => Promise<void>
  /** Every digest that a repository links: roots for the collector of blobs. */
  roots(): AsyncGenerator<Digest>
  /** Takes links of blobs away that no manifest of their repository needs and that are older than `graceMs`. */
  prune(graceMs: number): Promise<number>
}

export async function openRegistry(options: RegistryOptions): Promise<Registry> {
  const folder = join(options.root, 'repositories')
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const repositories = new Repositories(folder)
  const auth = new RegistryAuth({ ...options, tokenKey: await tokenKey(options) })
  const handler = createRegistryHandler({ ...options, repositories, auth })
  return {
    handle: (req, res) => handler.handle(req, res),
    roots: () => repositories.roots(),
    prune: (graceMs) => pruneLinks(repositories, options, graceMs),
    [Symbol.asyncDispose]: () => handler[Symbol.asyncDispose](),
  }
}

/** The key that signs tokens, made once and kept with the registry's state. */
async function tokenKey(options: RegistryOptions): Promise<Uint8Array> {
  const path = join(options.root, 'token.key')
  try {
    return await readFile(path)
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw error
    const key = options.random.bytes(32)
    await writeFileAtomically(path, key)
    return key
  }
}

async function pruneLinks(repositories: Repositories, options: RegistryOptions, graceMs: number): Promise<number> {
  let pruned = 0
  for (const repository of await repositories.list()) {
    const needed = new Set<Digest>()
    for (const digest of await repositories.manifestLinks(repository)) {
      const bytes = await options.blobs.read(digest, { maxBytes: maxManifestBytes })
      for (const descriptor of referencedDescriptors(parseManifest(bytes, (await repositories.manifest(repository, digest))?.mediaType))) needed.add(descriptor.digest)
    }
    for (const { digest, linkedAtMs } of await repositories.blobLinks(repository)) {
      if (needed.has(digest) || linkedAtMs > options.clock.nowMs() - graceMs) continue
      if (await repositories.unlinkBlob(repository, digest)) pruned += 1
    }
  }
  return pruned
}
