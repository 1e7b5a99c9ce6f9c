/** `berth build --output`: where the result goes instead of the image store, or besides (docs.docker.com/build/exporters). */
import { createWriteStream } from 'node:fs'
import { lstat, link, mkdir, open, rm, symlink, utimes } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { Writable, PassThrough } from 'node:stream'
import { readTar, type TarItem } from '#oci/layer/reader.ts'
import { joinComponents, safeComponents } from '#oci/layer/safe-path.ts'
import { systemErrorCode } from '#base/fault.ts'
import { ExitError } from '../exit.ts'
import type { Terminal } from '../terminal.ts'

/** `local` and `tar`: the files; `oci` and `docker`: the image as an archive; `image`: the store. */
export interface BuildOutput {
  readonly type: 'local' | 'tar' | 'oci' | 'docker' | 'image'
  /** `-`: standard output. */
  readonly dest: string
  readonly push: boolean
}

/** `type=tar,dest=out.tar`, or a folder alone. */
export function parseOutput(text: string): BuildOutput {
  if (!text.includes('=')) return text === '-' ? { type: 'tar', dest: '-', push: false } : { type: 'local', dest: text, push: false }
  const fields = new Map(text.split(',').map((field) => [field.split('=', 1)[0] ?? '', field.slice(field.indexOf('=') + 1)]))
  const type = fields.get('type') ?? ''
  if (type === 'registry') return { type: 'image', dest: '', push: true }
  if (type !== 'local' && type !== 'tar' && type !== 'oci' && type !== 'docker' && type !== 'image') throw new ExitError(`--output ${text}: unknown type '${type}'; expected local, tar, oci, docker, image or registry`)
  const dest = fields.get('dest') ?? (type === 'local' || type === 'image' ? '' : '-')
  if (type === 'local' && dest === '') throw new ExitError(`--output ${text}: dest is required for local; expected dest=FOLDER`)
  return { type, dest, push: fields.get('push') === 'true' }
}

/** Takes an archive to where the output goes; `done` settles when all of it is there. */
export function sinkOf({ type, dest }: BuildOutput, terminal: Terminal): { readonly stream: Writable; readonly done: Promise<void> } {
  if (type === 'local') {
    const stream = new PassThrough()
    return { stream, done: unpack(stream, resolve(dest)) }
  }
  if (dest === '-' && terminal.stdout.isTTY === true) throw new ExitError('an archive is not written to a terminal: give --output dest=FILE or redirect it')
  const file = dest === '-' ? undefined : createWriteStream(resolve(dest))
  const stream = file ?? new Writable({ write: (chunk: Buffer, _encoding, done) => void terminal.stdout.write(chunk, done) })
  return { stream, done: new Promise((done, fail) => stream.once('finish', done).once('error', fail)) }
}

/** Owners stay behind, as with docker; what stands in a file's place is replaced, but no link is followed. */
async function unpack(tar: AsyncIterable<Buffer>, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  for await (const item of readTar(tar)) {
    const { entry } = item
    const path = joinComponents(safeComponents(entry.path)).toString()
    if (path === '') continue
    const target = join(folder, path)
    await checkParents(folder, path)
    if (entry.type === 'directory') {
      await makeFolder(target, entry.mode)
      continue
    }
    await rm(target, { recursive: true, force: true })
    if (entry.type === 'symlink') await symlink(entry.linkPath, target)
    else if (entry.type === 'hardlink') await link(join(folder, joinComponents(safeComponents(entry.linkPath, 'link target')).toString()), target)
    else if (entry.type === 'file') await writeFile(target, item)
  }
}

async function makeFolder(path: string, mode: number): Promise<void> {
  try {
    await mkdir(path, { mode: mode & 0o777 })
  } catch (error) {
    if (systemErrorCode(error) !== 'EEXIST' || !(await lstat(path)).isDirectory()) throw error
  }
}

async function checkParents(folder: string, path: string): Promise<void> {
  let at = folder
  for (const part of path.split('/').slice(0, -1)) {
    at = join(at, part)
    const stats = await lstat(at).catch((error: unknown) => (systemErrorCode(error) === 'ENOENT' ? undefined : Promise.reject(error)))
    if (stats === undefined) await mkdir(at)
    else if (!stats.isDirectory()) throw new ExitError(`${at} is no folder: the output would be written through it`)
  }
}

async function writeFile(path: string, item: TarItem): Promise<void> {
  const { entry, segments } = item
  await using file = await open(path, 'wx', entry.mode & 0o777)
  for (const { offset, length } of segments ?? [{ offset: 0, length: entry.sizeBytes }]) {
    for (let done = 0; done < length; ) {
      const chunk = await item.read(Math.min(1 << 20, length - done))
      if (chunk === undefined) break
      await file.write(chunk, 0, chunk.length, offset + done)
      done += chunk.length
    }
  }
  await file.truncate(entry.sizeBytes)
  await file.chmod(entry.mode & 0o777)
  const seconds = Number(entry.modifiedNs) / 1e9
  await utimes(path, seconds, seconds)
}
