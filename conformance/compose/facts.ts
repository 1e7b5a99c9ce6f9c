/** What inspect says of a compose project, as lines that two engines can be compared by. */
import { isDeepStrictEqual, stripVTControlCharacters } from 'node:util'
import { runProgram } from '../../tools/instance.ts'

/** The version that both engines speak: what inspect shows depends on it. */
const environment = { ...process.env, DOCKER_API_VERSION: '1.41' }

type Json = Readonly<Record<string, unknown>>

/** One line per fact: containers, networks and volumes of the project, by name. */
export async function projectFacts(project: string): Promise<readonly string[]> {
  const label = `label=com.docker.compose.project=${project}`
  const containers = await inspect('container', ['ps', '-aq', '--filter', label])
  const networks = await inspect('network', ['network', 'ls', '-q', '--filter', label])
  const volumes = await inspect('volume', ['volume', 'ls', '-q', '--filter', label])
  return [...containers.flatMap(containerFacts), ...networks.flatMap(networkFacts), ...volumes.flatMap(volumeFacts)].map(steady).sort()
}

async function inspect(kind: string, list: readonly string[]): Promise<readonly Json[]> {
  const { output } = await runProgram(['docker', ...list], environment)
  const ids = output.split('\n').filter((id) => id !== '')
  if (ids.length === 0) return []
  const parsed: Json[] = JSON.parse((await runProgram(['docker', kind, 'inspect', ...ids], environment)).output)
  return parsed
}

function at(value: unknown, ...path: readonly string[]): unknown {
  let found = value
  for (const key of path) {
    if (typeof found !== 'object' || found === null || !(key in found)) return undefined
    found = Object.getOwnPropertyDescriptor(found, key)?.value
  }
  return found
}

const entries = (value: unknown): readonly (readonly [string, unknown])[] => (typeof value === 'object' && value !== null ? Object.entries(value) : [])

function containerFacts(container: Json): readonly string[] {
  const name = String(at(container, 'Name'))
  const say = (what: string, value: unknown): string => `${name} ${what} ${canonical(empty(value) ? null : value)}`
  const config = ['Cmd', 'Entrypoint', 'Env', 'Healthcheck', 'Hostname', 'Image', 'StopSignal', 'StopTimeout', 'Volumes', 'User', 'WorkingDir']
  const host = ['Binds', 'CapDrop', 'Init', 'Memory', 'NetworkMode', 'PortBindings', 'ReadonlyRootfs', 'Tmpfs', 'Ulimits', 'VolumesFrom', 'Mounts']
  const running = at(container, 'State', 'Running') === true
  return [
    say('Status', at(container, 'State', 'Status')),
    ...(running ? [] : [say('ExitCode', at(container, 'State', 'ExitCode'))]),
    ...config.map((field) => say(field, field === 'Env' ? array(at(container, 'Config', field)).map(String).sort() : at(container, 'Config', field))),
    // Later Docker says "no" where 20.10 says nothing, and so does Berth.
    say('RestartPolicy', [at(container, 'HostConfig', 'RestartPolicy', 'Name') || 'no', at(container, 'HostConfig', 'RestartPolicy', 'MaximumRetryCount')]),
    ...host.map((field) => say(field, field === 'Binds' ? array(at(container, 'HostConfig', field)).map(String).sort() : at(container, 'HostConfig', field))),
    ...entries(at(container, 'Config', 'Labels')).map(([key, value]) => say(`label ${key}`, value)),
    ...array(at(container, 'Mounts')).map((mount) => say(`mount ${String(at(mount, 'Destination'))}`, [at(mount, 'Type'), at(mount, 'Name'), at(mount, 'Mode'), at(mount, 'RW'), at(mount, 'Driver')])),
    ...entries(at(container, 'NetworkSettings', 'Networks')).flatMap(([network, endpoint]) => [
      say(`network ${network}`, { aliases: array(at(endpoint, 'Aliases')).map((alias) => steady(String(alias))).sort(), fixed: at(endpoint, 'IPAMConfig'), connected: !empty(at(endpoint, 'IPAddress')), links: at(endpoint, 'Links') }),
    ]),
    say('Ports', at(container, 'NetworkSettings', 'Ports')),
  ]
}

function networkFacts(network: Json): readonly string[] {
  const name = String(at(network, 'Name'))
  const fixed = array(at(network, 'IPAM', 'Config')).filter((config) => String(at(config, 'Subnet')).startsWith('172.31.240.'))
  const fields = ['Driver', 'Internal', 'Attachable', 'EnableIPv6', 'Options', 'Labels', 'Scope'].map((field) => `network ${name} ${field} ${canonical(at(network, field))}`)
  return [...fields, ...fixed.map((config) => `network ${name} subnet ${String(at(config, 'Subnet'))}`), `network ${name} members ${entries(at(network, 'Containers')).map(([, member]) => String(at(member, 'Name'))).sort().join(' ')}`]
}

function volumeFacts(volume: Json): readonly string[] {
  return ['Driver', 'Labels', 'Options', 'Scope'].map((field) => `volume ${String(at(volume, 'Name'))} ${field} ${canonical(at(volume, field))}`)
}

/** JSON with the keys in order: Go sorts a map's keys, and none is promised. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => (typeof inner === 'object' && inner !== null && !Array.isArray(inner) ? Object.fromEntries(Object.entries(inner).toSorted(([left], [right]) => (left < right ? -1 : 1))) : inner)) ?? 'undefined'
}

function array(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

function empty(value: unknown): boolean {
  return value === undefined || value === null || value === '' || isDeepStrictEqual(value, []) || isDeepStrictEqual(value, {})
}

/** Without ids, times, durations and addresses that are not fixed: what two runs of the same engine do not share either. */
export function steady(text: string): string {
  return stripVTControlCharacters(text)
    .replace(/\r/g, '\n')
    .replace(/sha256:[0-9a-f]{12,64}/g, 'ID')
    .replace(/\b[0-9a-f]{63,64}\b/g, 'ID')
    .replace(/\b[0-9a-f]{12}\b/g, 'ID')
    .replace(/\b\d{4}-\d\d-\d\d[T ][\d:.]+(Z|[+-]\d\d:\d\d)?/g, 'TIME')
    .replace(/\b\d+(\.\d+)?s\b/g, 'TIME')
    .replace(/\b(Up )?(About )?(Less than )?(an?|\d+) (second|minute)s?( ago)?/g, 'TIME')
    .replace(/\/tmp\/cf-\w+\/(dockerd|berth)/g, 'FOLDER')
    .replace(/_run_[0-9a-f]+\b/g, '_run_ID')
    // Tables: processes and their start, columns as wide as the widest word.
    .replace(/\b(root +)\d+ +\d+/g, '$1PID PPID')
    .replace(/\b\d\d:\d\d\b/g, 'HOUR')
    .replace(/ {2,}/g, ' ')
    .replace(/-{3,}/g, '---')
    .replace(/ +$/gm, '')
    .replace(/^((?:Attaching to|Going to remove) )(.*)$/gm, (_line, words: string, names: string) => `${words}${names.split(', ').sort().join(', ')}`)
    // dockerd makes a container for every step of a build, and steps of the labels that the request gives; we make neither.
    // 20.10 says of its end what later ones, and Berth, say in other words.
    .replace(/^(Removing intermediate container| *---> (Running in|Removed intermediate container)) ID\n?/gm, '')
    .replace(/(Sending build context to Docker daemon) .*/g, '$1')
    .replace(/^Step \d+\/\d+ : LABEL (built\.by|com\.docker\.compose\.image\.builder)=.*\n?/gm, '')
    .replace(/^Step \d+\/\d+ /gm, 'Step ')
}
