/**
 * Swarm and plugins (Engine API, tags `Swarm`, `Node`, `Service`, `Task`, `Secret`, `Config`, `Plugin`): this engine is in no swarm and has
 * no plugins, and says so with the words and statuses of a dockerd of which the same is true.
 */
import { Fault } from '#base/fault.ts'
import { sendJson } from '#base/http.ts'
import { jsonBody, param, type Exchange, type Handler } from '../exchange.ts'
import { parseFilters } from '../filters.ts'
import { JsonInput, queryBoolean } from '../json-input.ts'

const join = `Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.`

async function noManager(): Promise<void> {
  throw new Fault('unavailable', `This node is not a swarm manager. ${join}`)
}

async function notInSwarm(): Promise<void> {
  throw new Fault('unavailable', 'This node is not part of a swarm')
}

/** `force` makes leaving of what was never joined no success either. */
async function leave(): Promise<void> {
  await notInSwarm()
}

async function init(exchange: Exchange): Promise<void> {
  JsonInput.of(await jsonBody(exchange), '')
  throw new Fault('unavailable', 'This engine forms no swarm: it schedules with Kubernetes (kubectl)')
}

/** Asked before whether there is a swarm at all. */
async function noLogs({ query }: Exchange): Promise<void> {
  if (!queryBoolean(query, 'stdout') && !queryBoolean(query, 'stderr')) throw new Fault('invalidArgument', 'Bad parameters: you must choose at least one stream')
  await noManager()
}

async function plugins({ res, query }: Exchange): Promise<void> {
  parseFilters(query, ['enabled', 'capability'])
  sendJson(res, [])
}

async function noPlugin(exchange: Exchange): Promise<void> {
  throw new Fault('notFound', `plugin "${param(exchange, 'name')}" not found`)
}

async function noPluginStore(): Promise<void> {
  throw new Fault('unimplemented', 'this engine has no plugins')
}

/** Removing a plugin by force does not make it known either. */
async function removePlugin(exchange: Exchange): Promise<void> {
  queryBoolean(exchange.query, 'force')
  await noPlugin(exchange)
}

export const swarmRoutes: readonly (readonly [string, string, Handler])[] = [
  ['GET', '/swarm', noManager],
  ['POST', '/swarm/init', init],
  ['POST', '/swarm/join', init],
  ['POST', '/swarm/leave', leave],
  ['POST', '/swarm/update', noManager],
  ['GET', '/swarm/unlockkey', noManager],
  ['POST', '/swarm/unlock', notInSwarm],
  ...['nodes', 'services', 'tasks', 'secrets', 'configs'].flatMap((kind): (readonly [string, string, Handler])[] => [
    ['GET', `/${kind}`, noManager],
    ['GET', `/${kind}/:id`, noManager],
    ...(kind === 'tasks' ? [] : [['DELETE', `/${kind}/:id`, noManager] as const, ['POST', `/${kind}/:id/update`, noManager] as const]),
    ...(kind === 'services' || kind === 'secrets' || kind === 'configs' ? [['POST', `/${kind}/create`, noManager] as const] : []),
    ...(kind === 'services' || kind === 'tasks' ? [['GET', `/${kind}/:id/logs`, noLogs] as const] : []),
  ]),
  ['GET', '/plugins', plugins],
  ['GET', '/plugins/privileges', noPluginStore],
  ['POST', '/plugins/pull', noPluginStore],
  ['POST', '/plugins/create', noPluginStore],
  ['GET', '/plugins/:name+/json', noPlugin],
  ['DELETE', '/plugins/:name+', removePlugin],
  ...['enable', 'disable', 'upgrade', 'push', 'set'].map((verb): readonly [string, string, Handler] => ['POST', `/plugins/:name+/${verb}`, noPlugin]),
]
