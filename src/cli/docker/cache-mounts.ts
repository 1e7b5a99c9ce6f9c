/** `berth builder cache-mounts`: what `RUN --mount=type=cache` has gathered, taken elsewhere and back. */
import { createReadStream, createWriteStream } from 'node:fs'
import { resolve } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { listOf, textAt } from '../json.ts'
import { print, type Terminal } from '../terminal.ts'
import type { DockerConnection } from './connection.ts'

export async function listCacheMounts(engine: DockerConnection, terminal: Terminal): Promise<void> {
  for (const mount of listOf(await engine.json({ method: 'GET', path: '/build/cache-mounts' }))) await print(terminal.stdout, `${textAt(mount, 'Id')}\n`)
}

export async function exportCacheMount(engine: DockerConnection, id: string, file: string): Promise<void> {
  await pipeline(await engine.stream({ method: 'GET', path: '/build/cache-mounts/archive', query: { id } }), createWriteStream(resolve(file)))
}

export async function importCacheMount(engine: DockerConnection, id: string, file: string): Promise<void> {
  await engine.json({ method: 'PUT', path: '/build/cache-mounts/archive', query: { id }, stream: createReadStream(resolve(file)), headers: { 'Content-Type': 'application/x-tar' } })
}
