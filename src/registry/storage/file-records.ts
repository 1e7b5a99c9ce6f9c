/**
 * Records as files below one folder: written beside (`_incoming`), synced, then renamed or linked into place, and the folder
 * synced. A folder lives as long as it holds something. See `condemned.ts` for how an old record is removed and a renewed one not.
 */
import type { BigIntStats, Dirent } from 'node:fs'
import { link, mkdir, open, readdir, readFile, rename, rmdir, stat, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Clock } from '#base/clock.ts'
import { asFault, systemErrorCode } from '#base/fault.ts'
import { syncFolder } from '#base/files.ts'
import { uuid4 } from '#base/random.ts'
import type { Random } from '#base/random.ts'
import { condemnedSuffix, isAbsence, renew, unlessAside, unlinkIf, writtenAtMs } from '#oci/blobs/condemned.ts'
import type { RecordEntry, Records, RecordStat } from './contract.ts'

/** A folder that others remove as often as we make it is given up after this many attempts. */
const maxAttempts = 100
const incomingName = '_incoming'
/** What a killed process left in `_incoming` is swept when it is older. */
const unfinishedMs = 3_600_000

export interface FileRecordsOptions {
  /** Made when missing. */
  readonly root: string
  readonly clock: Clock
  readonly random: Random
}

export async function openFileRecords(options: FileRecordsOptions): Promise<Records> {
  const incoming = join(options.root, incomingName)
  await mkdir(incoming, { recursive: true, mode: 0o700 })
  for (const name of await readdir(incoming)) {
    const path = join(incoming, name)
    const found = await look(path)
    if (found !== undefined && writtenAtMs(found) < options.clock.nowMs() - unfinishedMs) await unlink(path)
  }
  return new FileRecords(options)
}

class FileRecords implements Records {
  readonly #options: FileRecordsOptions

  constructor(options: FileRecordsOptions) {
    this.#options = options
  }

  #path(path: string): string {
    return join(this.#options.root, path)
  }

  async read(path: string): Promise<Buffer | undefined> {
    const file = this.#path(path)
    return await unlessAside(file, () => contentOf(file))
  }

  async stat(path: string): Promise<RecordStat | undefined> {
    const file = this.#path(path)
    const found = await unlessAside(file, () => look(file))
    return found?.isFile() === true ? statOf(found) : undefined
  }

  async write(path: string, content: string, options: { readonly durable?: boolean } = {}): Promise<void> {
    await this.#place(path, content, { durable: options.durable !== false, into: rename })
  }

  async create(path: string, content: string, options: { readonly durable?: boolean } = {}): Promise<boolean> {
    const into = async (beside: string, file: string): Promise<void> => {
      await link(beside, file)
      await unlink(beside)
    }
    try {
      await this.#place(path, content, { durable: options.durable !== false, into })
      return true
    } catch (error) {
      if (systemErrorCode(error) === 'EEXIST') return false
      throw error
    }
  }

  async #place(path: string, content: string, options: { readonly durable: boolean; readonly into: (beside: string, file: string) => Promise<void> }): Promise<void> {
    const file = this.#path(path)
    const beside = join(this.#options.root, incomingName, uuid4(this.#options.random))
    try {
      {
        await using handle = await open(beside, 'wx', 0o600)
        if (content !== '') await handle.writeFile(content)
        if (options.durable) await handle.sync()
      }
      await inFolder(dirname(file), options.durable, () => options.into(beside, file))
    } catch (error) {
      await unlink(beside).catch((second: unknown) => {
        if (!isAbsence(second)) throw second
      })
      throw systemErrorCode(error) === 'ENOSPC' || systemErrorCode(error) === 'EDQUOT' ? asFault(error) : error
    }
    if (options.durable) await syncFolder(dirname(file))
  }

  async touch(path: string): Promise<boolean> {
    return await renew(this.#path(path), this.#options.clock.nowMs())
  }

  async remove(path: string, options: { readonly version?: string } = {}): Promise<boolean> {
    const file = this.#path(path)
    const gone = await unlinkIf(file, (found) => options.version === undefined || statOf(found).version === options.version)
    if (gone) await removeEmpty(dirname(file), this.#options.root)
    return gone
  }

  async *list(folder: string): AsyncGenerator<RecordEntry> {
    const found = (await entries(this.#path(folder))).filter(({ name }) => !name.endsWith(condemnedSuffix) && name !== incomingName)
    for (const entry of found.sort((left, right) => (left.name < right.name ? -1 : 1))) {
      yield { name: entry.name, isFolder: entry.isDirectory(), stat: () => this.stat(`${folder}/${entry.name}`) }
    }
  }
}

function statOf(found: BigIntStats): RecordStat {
  return { version: `${found.mtimeNs}-${found.ino}`, writtenAtMs: writtenAtMs(found) }
}

/** Puts something into a folder that is made when missing, also when others remove it at the same time because it is empty. */
async function inFolder(folder: string, durable: boolean, put: () => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await put()
    } catch (error) {
      if (systemErrorCode(error) !== 'ENOENT' || attempt >= maxAttempts) throw error
      await makeFolder(folder, durable)
    }
  }
}

async function makeFolder(folder: string, durable: boolean): Promise<void> {
  try {
    const first = await mkdir(folder, { recursive: true, mode: 0o700 })
    if (first === undefined || !durable) return
    for (let made = folder; made.length >= first.length; made = dirname(made)) await syncFolder(dirname(made))
  } catch (error) {
    // Somebody has removed it again, since it was empty: the next attempt makes it anew.
    if (systemErrorCode(error) !== 'ENOENT') throw error
  }
}

async function removeEmpty(folder: string, root: string): Promise<void> {
  for (let empty = folder; empty.length > root.length; empty = dirname(empty)) {
    try {
      await rmdir(empty)
    } catch (error) {
      const code = systemErrorCode(error)
      if (code !== 'ENOTEMPTY' && code !== 'EEXIST' && code !== 'ENOENT') throw error
      if (code !== 'ENOENT') return
    }
  }
}

async function contentOf(file: string): Promise<Buffer | undefined> {
  try {
    return await readFile(file)
  } catch (error) {
    if (isAbsence(error) || systemErrorCode(error) === 'EISDIR') return undefined
    throw error
  }
}

async function look(file: string): Promise<BigIntStats | undefined> {
  try {
    return await stat(file, { bigint: true })
  } catch (error) {
    if (isAbsence(error)) return undefined
    throw error
  }
}

async function entries(folder: string): Promise<Dirent[]> {
  try {
    return await readdir(folder, { withFileTypes: true })
  } catch (error) {
    if (isAbsence(error)) return []
    throw error
  }
}
