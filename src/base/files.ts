/**
 * Files that must survive a crash: written beside, synced, renamed, folder synced. Readers see the old content or the new,
 * never a mixture (docs/CONVENTIONS.md, "Files").
 */
import { randomUUID } from 'node:crypto'
import { open, readdir, readFile, rename, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { asFault, Fault, systemErrorCode } from './fault.ts'
import { isRecord, jsonText, parseJson } from './json.ts'

/** Replaces `path` atomically. `durable: false` skips the syncs: whole after a crash of the process, perhaps old after a power cut. */
export async function writeFileAtomically(path: string, content: Uint8Array | string, options: { readonly mode?: number; readonly durable?: boolean } = {}): Promise<void> {
  const beside = `${path}.${randomUUID().slice(0, 8)}.tmp`
  try {
    {
      await using file = await open(beside, 'wx', options.mode ?? 0o600)
      await file.writeFile(content)
      if (options.durable !== false) await file.sync()
    }
    await rename(beside, path)
  } catch (error) {
    await unlink(beside).catch((second: unknown) => {
      if (systemErrorCode(second) !== 'ENOENT') throw second
    })
    const code = systemErrorCode(error)
    if (code === 'ENOSPC' || code === 'EDQUOT') throw new Fault('resourceExhausted', `no space left on device: '${path}' could not be written`, { cause: error })
    throw error
  }
  if (options.durable !== false) await syncFolder(dirname(path))
}

/** Removes what writers that were killed have left beside the files of a folder. Only for a folder that nobody writes to now. */
export async function sweepUnfinished(folder: string): Promise<void> {
  for (const name of await readdir(folder)) if (/\.[0-9a-f]{8}\.tmp$/.test(name)) await unlink(join(folder, name))
}

/** Brings a folder's entries to the disk, so that names made or removed in it survive a power cut. */
export async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, 'r')
  await folder.sync()
}

/** A file's bytes; undefined when there is no such file. */
export async function readIfThere(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path)
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

/** The same as text. */
export async function readTextIfThere(path: string): Promise<string | undefined> {
  return (await readIfThere(path))?.toString()
}

/** State as JSON with a `formatVersion`, written atomically. */
export async function writeState<S extends { readonly formatVersion: number }>(path: string, state: S, options: { readonly durable?: boolean } = {}): Promise<void> {
  await writeFileAtomically(path, jsonText(state), options)
}

/**
 * Reads state that `writeState` wrote; undefined when there is none. What is no state is `dataLoss`. A version above `newest` is refused: an older Berth must
 * not touch what a newer one wrote. The caller parses what comes back.
 */
export async function readState(path: string, newest: number): Promise<Readonly<Record<string, unknown>> | undefined> {
  const bytes = await readIfThere(path)
  if (bytes === undefined) return undefined
  const state = parseState(bytes, path)
  if (!isRecord(state) || typeof state['formatVersion'] !== 'number') throw new Fault('dataLoss', `${path} holds no state of Berth: expected an object with formatVersion`)
  if (state['formatVersion'] > newest) throw new Fault('preconditionFailed', `${path} was written by a newer Berth (formatVersion ${state['formatVersion']}, this one knows ${newest}): start that version`)
  return state
}

/** A state file that is no JSON is our loss, not a caller's mistake. */
function parseState(bytes: Buffer, path: string): unknown {
  try {
    return parseJson(bytes, `state file ${path}`)
  } catch (error) {
    throw new Fault('dataLoss', asFault(error).message, { cause: error })
  }
}
