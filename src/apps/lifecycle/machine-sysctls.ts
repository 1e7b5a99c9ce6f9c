/**
 * Kernel settings of the whole machine that Berth switches on while it runs. What they were before the first start is kept in
 * the run directory, and `berth down` puts it back: route_localnet without the proxy's guard would let neighbours reach what
 * listens on loopback.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Links } from '#linux/contract/links.ts'
import type { Config } from '../config/config.ts'

const names = ['net/ipv4/ip_forward', 'net/ipv4/conf/all/route_localnet']

function recordPath(config: Config): string {
  return join(config.paths.run, 'sysctls.json')
}

/** Before the processes start. A record that is there already is of the state before Berth: it stays. */
export function rememberSysctls(config: Config): void {
  if (existsSync(recordPath(config))) return
  const values = Object.fromEntries(names.map((name) => [name, readFileSync(`/proc/sys/${name}`, 'utf8').trim()]))
  writeFileSync(recordPath(config), JSON.stringify(values), { mode: 0o600 })
}

/** Puts back what was off before; what was on stays on. */
export async function restoreSysctls(config: Config, links: Pick<Links, 'setSysctl'>): Promise<void> {
  if (!existsSync(recordPath(config))) return
  const values: Readonly<Record<string, string>> = JSON.parse(readFileSync(recordPath(config), 'utf8'))
  for (const name of names) if (values[name] === '0') await links.setSysctl(name, '0')
}
