/**
 * The layer between an image and a container that Docker calls init: the places over which a container's own files and file systems
 * are mounted, `/.dockerenv`, by which programs know that they run in a container, and `/etc/mtab`. What stands there is no change of
 * the container's and no part of what is committed from it. Made once for a stack of layers, as `i/<16 hex>`.
 */
import { createHash, randomUUID } from 'node:crypto'
import { constants, lstat, mkdir, open, readdir, rename, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { systemErrorCode } from '#base/fault.ts'
import { KeyedSerial } from '#base/task.ts'
import type { ChainId } from '../contract/images.ts'

const places: readonly { readonly path: string; readonly kind: 'folder' | 'file' | 'link'; readonly target?: string }[] = [
  ...['/dev/pts', '/dev/shm', '/proc', '/sys'].map((path) => ({ path, kind: 'folder' as const })),
  ...['/.dockerenv', '/dev/console', '/etc/hosts', '/etc/hostname', '/etc/resolv.conf'].map((path) => ({ path, kind: 'file' as const })),
  { path: '/etc/mtab', kind: 'link', target: '/proc/mounts' },
]

export interface InitLayersOptions {
  /** The store's own folder. */
  readonly root: string
  /** Runs the task on the stack's tree; what it writes goes to `upper`. `work` is empty. */
  readonly withTree: (tree: { readonly chainId: ChainId | undefined; readonly upper: string; readonly work: string }, task: (root: string) => Promise<void>) => Promise<void>
  readonly discard: (folder: string) => Promise<void>
}

export class InitLayers {
  readonly #options: InitLayersOptions
  readonly #made: Set<string>
  readonly #serial = new KeyedSerial<string>()

  /** `made`: what `madeInitLayers` found. */
  constructor(options: InitLayersOptions, made: readonly string[]) {
    this.#options = options
    this.#made = new Set(made)
  }

  /** Where the stack's init layer stands, whether it is made already or not. */
  folder(chainId: ChainId | undefined): string {
    return join(this.#options.root, 'i', nameOf(chainId))
  }

  async ensure(chainId: ChainId | undefined): Promise<void> {
    const name = nameOf(chainId)
    if (this.#made.has(name)) return
    await this.#serial.run(name, async () => {
      if (!this.#made.has(name)) await this.#make(chainId)
      this.#made.add(name)
    })
  }

  async #make(chainId: ChainId | undefined): Promise<void> {
    const beside = join(this.#options.root, 't', randomUUID())
    const [upper, work] = [join(beside, 'u'), join(beside, 'w')]
    await mkdir(upper, { recursive: true, mode: 0o755 })
    await mkdir(work)
    await this.#options.withTree({ chainId, upper, work }, async (root) => {
      for (const place of places) await makePlace(root, place)
    })
    await rename(upper, this.folder(chainId))
    await this.#options.discard(beside)
  }

  /** Discards those of stacks that are gone. */
  async collect(known: readonly ChainId[]): Promise<void> {
    const kept = new Set([undefined, ...known].map(nameOf))
    for (const name of this.#made) {
      if (kept.has(name)) continue
      this.#made.delete(name)
      await this.#options.discard(join(this.#options.root, 'i', name))
    }
  }
}

function nameOf(chainId: ChainId | undefined): string {
  return createHash('sha256').update(chainId ?? '').digest('hex').slice(0, 16)
}

/** What an image has there itself stays, also where it leads elsewhere: no link is followed. */
async function makePlace(root: string, { path, kind, target = '' }: (typeof places)[number]): Promise<void> {
  const [name = '', ...parents] = path.split('/').slice(1).reverse()
  let folder = root
  for (const parent of parents.reverse()) {
    folder = join(folder, parent)
    const found = await kindOf(folder)
    if (found === undefined) await mkdir(folder, { mode: 0o755 })
    else if (found !== 'folder') return
  }
  const full = join(folder, name)
  if ((await kindOf(full)) !== undefined) return
  if (kind === 'folder') await mkdir(full, { mode: 0o755 })
  else if (kind === 'link') await symlink(target, full)
  else await (await open(full, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY | constants.O_NOFOLLOW, 0o755)).close()
}

async function kindOf(path: string): Promise<'folder' | 'other' | undefined> {
  try {
    return (await lstat(path)).isDirectory() ? 'folder' : 'other'
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

/** The names of those that an earlier process made. */
export async function madeInitLayers(root: string): Promise<readonly string[]> {
  await mkdir(join(root, 'i'), { recursive: true, mode: 0o700 })
  return await readdir(join(root, 'i'))
}
