/** `berth images|pull|push|rmi|tag|load`: tables, and progress bars while something long goes on. */
import { createReadStream } from 'node:fs'
import { humanSize } from '#base/human.ts'
import { ExitError } from '../exit.ts'
import { listAt, listOf, numberAt, objectAt, textAt } from '../json.ts'
import { ProgressBoard } from '../progress.ts'
import { ago, renderTable } from '../table.ts'
import { print, type Terminal } from '../terminal.ts'
import { type DockerConnection, jsonLines } from './connection.ts'
import { type Credentials, registryAuth } from './credentials.ts'

/** Splits `name:tag` and `name@digest`; the tag of a bare name is `latest`. */
function splitReference(reference: string): { readonly name: string; readonly tag: string } {
  const at = reference.indexOf('@')
  if (at > 0) return { name: reference.slice(0, at), tag: reference.slice(at + 1) }
  const colon = reference.lastIndexOf(':')
  return colon > reference.lastIndexOf('/') ? { name: reference.slice(0, colon), tag: reference.slice(colon + 1) } : { name: reference, tag: 'latest' }
}

/** Shows the progress stream of a pull or push; an `errorDetail` in it ends the command with that message. */
async function follow(stream: AsyncIterable<unknown>, terminal: Terminal): Promise<void> {
  const board = new ProgressBoard(terminal)
  for await (const line of stream) {
    const failure = textAt(objectAt(line, 'errorDetail'), 'message') || textAt(line, 'error')
    if (failure !== '') {
      await board.close()
      throw new ExitError(failure)
    }
    const detail = objectAt(line, 'progressDetail')
    await board.update({ id: textAt(line, 'id'), status: textAt(line, 'status'), current: numberAt(detail, 'current'), total: numberAt(detail, 'total') })
  }
  await board.close()
}

export async function pullImage(engine: DockerConnection, terminal: Terminal, reference: string, credentials: Credentials = { files: [] }): Promise<void> {
  const { name, tag } = splitReference(reference)
  const stream = await engine.stream({ method: 'POST', path: '/images/create', query: { fromImage: name, tag }, headers: await registryAuth(reference, credentials) })
  await follow(jsonLines(stream), terminal)
}

export async function pushImage(engine: DockerConnection, terminal: Terminal, reference: string, credentials: Credentials): Promise<void> {
  const { name, tag } = splitReference(reference)
  const auth = await registryAuth(reference, credentials)
  const stream = await engine.stream({ method: 'POST', path: `/images/${name}/push`, query: { tag }, headers: { 'X-Registry-Auth': 'e30=', ...auth } })
  await follow(jsonLines(stream), terminal)
}

export async function listImages(engine: DockerConnection, terminal: Terminal, options: { readonly all?: boolean; readonly quiet?: boolean; readonly output?: string }): Promise<void> {
  const images = listOf(await engine.json({ method: 'GET', path: '/images/json', query: { all: options.all === true ? '1' : undefined } }))
  if (options.output === 'json') return print(terminal.stdout, `${JSON.stringify(images, null, 2)}\n`)
  const rows: string[][] = options.quiet === true ? [] : [['REPOSITORY', 'TAG', 'IMAGE ID', 'CREATED', 'SIZE']]
  for (const image of images) {
    const id = textAt(image, 'Id').replace('sha256:', '').slice(0, 12)
    const tags = listAt(image, 'RepoTags').map(String)
    for (const reference of tags.length > 0 ? tags : ['<none>:<none>']) {
      const { name, tag } = splitReference(reference)
      rows.push(options.quiet === true ? [id] : [name, tag, id, ago(terminal.clock.nowMs() - numberAt(image, 'Created') * 1000), humanSize(numberAt(image, 'Size'))])
    }
  }
  await print(terminal.stdout, renderTable(rows))
}

export async function removeImages(engine: DockerConnection, terminal: Terminal, references: readonly string[], force: boolean): Promise<void> {
  for (const reference of references) {
    const removed = await engine.json({ method: 'DELETE', path: `/images/${reference}`, query: { force: force ? '1' : undefined } })
    for (const entry of listOf(removed)) {
      const untagged = textAt(entry, 'Untagged')
      await print(terminal.stdout, untagged === '' ? `Deleted: ${textAt(entry, 'Deleted')}\n` : `Untagged: ${untagged}\n`)
    }
  }
}

export async function tagImage(engine: DockerConnection, source: string, target: string): Promise<void> {
  const { name, tag } = splitReference(target)
  await engine.json({ method: 'POST', path: `/images/${source}/tag`, query: { repo: name, tag } })
}

/** Loads the images of a `docker save` or OCI archive. */
export async function loadImages(engine: DockerConnection, terminal: Terminal, file: string | undefined): Promise<void> {
  const stream = await engine.stream({
    method: 'POST',
    path: '/images/load',
    query: { quiet: '1' },
    stream: file === undefined ? terminal.stdin : createReadStream(file),
    headers: { 'Content-Type': 'application/x-tar' },
  })
  for await (const line of jsonLines(stream)) {
    const failure = textAt(line, 'error')
    if (failure !== '') throw new ExitError(failure)
    await print(terminal.stdout, textAt(line, 'stream'))
  }
}
