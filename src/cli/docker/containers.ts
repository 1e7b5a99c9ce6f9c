/** `berth ps|logs|stop|rm|inspect`: the engine's containers as docker shows them. */
import { isAbsolute } from 'node:path'
import { ExitError } from '../exit.ts'
import { listAt, listOf, numberAt, objectAt, textAt } from '../json.ts'
import { ago, renderTable } from '../table.ts'
import { print, type Terminal } from '../terminal.ts'
import type { DockerConnection } from './connection.ts'
import { demultiplex } from './streams.ts'

function portsOf(container: unknown): string {
  return listAt(container, 'Ports')
    .map((port) => {
      const published = numberAt(port, 'PublicPort')
      const inside = `${numberAt(port, 'PrivatePort')}/${textAt(port, 'Type')}`
      return published === 0 ? inside : `${textAt(port, 'IP')}:${published}->${inside}`
    })
    .join(', ')
}

export async function listContainers(engine: DockerConnection, terminal: Terminal, options: { readonly all?: boolean; readonly quiet?: boolean; readonly output?: string }): Promise<void> {
  const containers = listOf(await engine.json({ method: 'GET', path: '/containers/json', query: { all: options.all === true ? '1' : undefined } }))
  if (options.output === 'json') return print(terminal.stdout, `${JSON.stringify(containers, null, 2)}\n`)
  if (options.quiet === true) return print(terminal.stdout, containers.map((container) => `${textAt(container, 'Id').slice(0, 12)}\n`).join(''))
  const rows = containers.map((container) => {
    const command = textAt(container, 'Command')
    return [
      textAt(container, 'Id').slice(0, 12),
      textAt(container, 'Image'),
      `"${command.length > 20 ? `${command.slice(0, 19)}…` : command}"`,
      ago(terminal.clock.nowMs() - numberAt(container, 'Created') * 1000),
      textAt(container, 'Status'),
      portsOf(container),
      listAt(container, 'Names').map((name) => String(name).replace(/^\//, '')).join(','),
    ]
  })
  await print(terminal.stdout, renderTable([['CONTAINER ID', 'IMAGE', 'COMMAND', 'CREATED', 'STATUS', 'PORTS', 'NAMES'], ...rows]))
}

export interface LogOptions {
  readonly follow?: boolean
  readonly tail?: string
  readonly since?: string
  readonly until?: string
  readonly timestamps?: boolean
}

export async function showLogs(engine: DockerConnection, terminal: Terminal, container: string, options: LogOptions): Promise<void> {
  const path = `/containers/${encodeURIComponent(container)}`
  const tty = objectAt(await engine.json({ method: 'GET', path: `${path}/json` }), 'Config')['Tty'] === true
  const flag = (value: boolean | undefined): string | undefined => (value === true ? '1' : undefined)
  const stream = await engine.stream({
    method: 'GET',
    path: `${path}/logs`,
    query: { stdout: '1', stderr: '1', follow: flag(options.follow), timestamps: flag(options.timestamps), tail: options.tail, since: options.since, until: options.until },
  })
  if (tty) for await (const chunk of stream) await print(terminal.stdout, Buffer.from(chunk))
  else await demultiplex(stream, terminal.stdout, terminal.stderr)
}

/** Runs `action` for each name, prints the name when it worked, and fails at the end if any did not. */
async function forEach(terminal: Terminal, names: readonly string[], action: (name: string) => Promise<unknown>): Promise<void> {
  let failed = false
  for (const name of names) {
    try {
      await action(name)
      await print(terminal.stdout, `${name}\n`)
    } catch (error) {
      if (!(error instanceof ExitError)) throw error
      failed = true
      await print(terminal.stderr, `${error.message}\n`)
    }
  }
  if (failed) throw new ExitError('', 1)
}

export function stopContainers(engine: DockerConnection, terminal: Terminal, names: readonly string[], options: { readonly time?: string; readonly signal?: string }): Promise<void> {
  return forEach(terminal, names, (name) =>
    engine.json({ method: 'POST', path: `/containers/${encodeURIComponent(name)}/stop`, query: { t: options.time, signal: options.signal } }),
  )
}

export function removeContainers(engine: DockerConnection, terminal: Terminal, names: readonly string[], options: { readonly force?: boolean; readonly volumes?: boolean }): Promise<void> {
  return forEach(terminal, names, (name) =>
    engine.json({
      method: 'DELETE',
      path: `/containers/${encodeURIComponent(name)}`,
      query: { force: options.force === true ? '1' : undefined, v: options.volumes === true ? '1' : undefined },
    }),
  )
}

export async function inspect(engine: DockerConnection, terminal: Terminal, names: readonly string[]): Promise<void> {
  const found: unknown[] = []
  for (const name of names) {
    const kind = isAbsolute(name) ? undefined : await inspectOne(engine, name)
    if (kind === undefined) throw new ExitError(`no such container or image: ${name}`)
    found.push(kind)
  }
  await print(terminal.stdout, `${JSON.stringify(found, null, 4)}\n`)
}

async function inspectOne(engine: DockerConnection, name: string): Promise<unknown> {
  for (const path of [`/containers/${encodeURIComponent(name)}/json`, `/images/${name}/json`]) {
    try {
      return await engine.json({ method: 'GET', path })
    } catch (error) {
      if (!(error instanceof ExitError) || !('status' in error) || error.status !== 404) throw error
    }
  }
  return undefined
}
