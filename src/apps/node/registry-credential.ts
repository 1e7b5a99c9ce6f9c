/** Root's credential for the embedded registry, made at the first start, in the form of docker's config.json, mode 0600. */
import { existsSync, readFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { writeFileAtomically } from '#base/files.ts'
import type { Random } from '#base/random.ts'
import type { Config } from '../config/config.ts'

export interface Credential {
  readonly username: string
  readonly password: string
}

/** The names under which clients on this machine address the registry. */
export function registryHosts(config: Config): readonly string[] {
  return [...new Set([`${config.registryAddress}:${config.registryPort}`, `127.0.0.1:${config.registryPort}`, `localhost:${config.registryPort}`])]
}

export async function registryCredential(config: Config, random: Random): Promise<Credential> {
  const path = config.paths.registryAuth
  if (existsSync(path)) {
    const known: { auths?: Record<string, { auth?: string }> } = JSON.parse(readFileSync(path, 'utf8'))
    const encoded = known.auths?.[registryHosts(config)[0] ?? '']?.auth
    const [username, password] = Buffer.from(encoded ?? '', 'base64').toString('utf8').split(':')
    if (username !== undefined && password !== undefined) return { username, password }
  }
  const made = { username: 'root', password: random.bytes(24).toString('base64url') }
  const auth = Buffer.from(`${made.username}:${made.password}`).toString('base64')
  await mkdir(dirname(path), { recursive: true, mode: 0o755 })
  await writeFileAtomically(path, `${JSON.stringify({ auths: Object.fromEntries(registryHosts(config).map((host) => [host, { auth }])) }, null, 2)}\n`, { mode: 0o600 })
  return made
}
