/** `berth registry collect`: has a registry remove what it no longer needs, now. */
import { existsSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { humanSize } from '#base/human.ts'
import { isRecord } from '#base/json.ts'
import { ExitError } from '#cli/exit.ts'
import { print } from '#cli/terminal.ts'
import type { Terminal } from '#cli/terminal.ts'
import type { Config } from '../config/config.ts'
import { registryHosts } from '../node/registry-credential.ts'

export async function collectRegistry(config: Config, terminal: Terminal, where: string | undefined): Promise<number> {
  const host = where ?? registryHosts(config)[0] ?? ''
  const url = new URL('/collect', /^https?:/.test(host) ? host : `http://${host}`)
  const auth = credentialFor(url.host, [config.paths.registryAuth, join(process.env['DOCKER_CONFIG'] ?? join(homedir(), '.docker'), 'config.json')])
  const answer = await fetch(url, { method: 'POST', headers: auth === undefined ? {} : { Authorization: `Basic ${auth}` } }).catch((error: unknown) => {
    throw new ExitError(`berth: no registry answers at ${url.origin}: ${error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error)}`)
  })
  const body: unknown = await answer.json()
  if (!answer.ok) throw new ExitError(`berth: ${url.origin} refused: ${JSON.stringify(body)}`)
  const count = (key: string): number => (isRecord(body) ? Number(body[key] ?? 0) : 0)
  await print(terminal.stdout, `Collected at ${url.host}: ${count('tags')} tags, ${count('manifests')} manifests, ${count('links')} links, ${humanSize(count('freedBytes'))}\n`)
  return 0
}

/** The `auth` of a host in files as docker's config.json. */
function credentialFor(host: string, files: readonly string[]): string | undefined {
  for (const file of files) {
    const known: unknown = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : undefined
    const entry = isRecord(known) && isRecord(known['auths']) ? known['auths'][host] : undefined
    if (isRecord(entry) && typeof entry['auth'] === 'string') return entry['auth']
  }
  return undefined
}
