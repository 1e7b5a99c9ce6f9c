/** `berth status` and `berth config view`. */
import { print, type Terminal } from '#cli/terminal.ts'
import { renderTable } from '#cli/table.ts'
import type { ResolvedConfig } from '../config/config.ts'
import { processNames, runningPid } from './processes.ts'
import { conditions } from './ready.ts'

interface Part {
  readonly part: string
  readonly state: string
  readonly where: string
}

/** Exit code 0 when all of it works, 1 otherwise, so that scripts can ask. */
export async function status({ config }: ResolvedConfig, terminal: Terminal, options: { readonly output?: string }): Promise<number> {
  const parts: Part[] = processNames.map((name) => {
    const pid = runningPid(config.paths.run, name, 'process')
    const supervised = runningPid(config.paths.run, name, 'supervisor') !== undefined
    return { part: `${name} process`, state: pid === undefined ? 'not running' : supervised ? 'running' : 'running, not supervised', where: pid === undefined ? '' : `pid ${pid}` }
  })
  for (const condition of conditions(config)) {
    const failure = await condition.check().then(
      (held) => (held ? '' : 'not ready'),
      (error: unknown) => (error instanceof Error ? error.message : String(error)),
    )
    parts.push({ part: condition.label, state: failure === '' ? 'ready' : failure, where: condition.where })
  }
  const healthy = parts.every(({ state }) => state === 'ready' || state.startsWith('running'))
  const clients = { DOCKER_HOST: `unix://${config.paths.dockerSocket}`, KUBECONFIG: config.paths.kubeconfig }
  if (options.output === 'json') await print(terminal.stdout, `${JSON.stringify({ healthy, parts, clients }, null, 2)}\n`)
  else {
    const rows = parts.map(({ part, state, where }) => [part, state, where])
    await print(terminal.stdout, renderTable([['PART', 'STATE', 'WHERE'], ...rows]))
    await print(
      terminal.stdout,
      `
Stock clients:
  export DOCKER_HOST=${clients.DOCKER_HOST}
  export KUBECONFIG=${clients.KUBECONFIG}
  docker context create berth --docker host=${clients.DOCKER_HOST}
`,
    )
  }
  return healthy ? 0 : 1
}

export async function viewConfig({ config, origins }: ResolvedConfig, terminal: Terminal, options: { readonly output?: string }): Promise<number> {
  const values = new Map<string, unknown>(Object.entries(config))
  const shown = Object.entries(origins).map(([key, origin]) => {
    const value = values.get(key)
    return { key, value: typeof value === 'string' || typeof value === 'number' ? String(value) : '', origin }
  })
  if (options.output === 'json') await print(terminal.stdout, `${JSON.stringify(shown, null, 2)}\n`)
  else {
    const rows = shown.map(({ key, value, origin }) => [key, value === '' ? '<none>' : value, origin])
    await print(terminal.stdout, renderTable([['SETTING', 'VALUE', 'FROM'], ...rows]))
    await print(terminal.stdout, `\nfile: ${config.paths.configFile}\nroot: ${config.root ?? '<default>'}\n`)
  }
  return 0
}
