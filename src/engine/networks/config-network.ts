/**
 * Networks that only hold a configuration (`docker network create --config-only`), and those made from one (`--config-from`): the source
 * gives subnets, driver options, labels and families, the new network its driver and what its operator decides (internal, attachable).
 * Nobody joins a source, and it stays while a network made from it is there. Rules and words of moby's libnetwork. Pure.
 */
import { Fault } from '#base/fault.ts'
import type { NetworkSpec } from '../contract/networks.ts'
import type { NetworkRecord } from './records.ts'

/** What the network is to be, with the source's configuration where it names one. */
export function configured(spec: NetworkSpec, others: readonly NetworkRecord[]): NetworkSpec {
  const { configFrom } = spec
  if (spec.configOnly === true) checkConfigOnly(spec)
  if (configFrom === undefined || configFrom === '') return spec
  checkAllElseUnset(spec)
  const source = others.find(({ name, configOnly }) => configOnly === true && name === configFrom)
  if (source === undefined) throw new Fault('notFound', `configuration network "${configFrom}" does not exist`)
  const { enableIPv4, enableIPv6, ipam, options, labels } = source
  return { ...spec, ...(enableIPv4 === undefined ? {} : { enableIPv4 }), enableIPv6, ipam, options, labels }
}

function checkConfigOnly({ internal, attachable, scope, configFrom }: NetworkSpec): void {
  if (internal === true || attachable === true || (scope !== undefined && scope !== '')) throw new Fault('permissionDenied', 'configuration network can only contain network specific fields. Network operator fields like [ ingress | internal | attachable | scope ] are not supported.')
  if (configFrom !== undefined && configFrom !== '') throw new Fault('permissionDenied', 'a configuration network cannot depend on another configuration network')
}

function checkAllElseUnset({ ipam, enableIPv4, enableIPv6, labels, options }: NetworkSpec): void {
  const isDefaultIpam = ['', 'default'].includes(ipam?.driver ?? '') && Object.keys(ipam?.options ?? {}).length === 0 && (ipam?.config ?? []).length === 0
  if (!isDefaultIpam || enableIPv4 === false || enableIPv6 === true || Object.keys(labels ?? {}).length > 0) throw new Fault('permissionDenied', 'user specified configurations are not supported if the network depends on a configuration network')
  if (Object.keys(options ?? {}).length > 0) throw new Fault('permissionDenied', 'network driver options are not supported if the network depends on a configuration network')
}

/** Before a source goes. */
export function checkUnused({ name, configOnly }: NetworkRecord, others: readonly NetworkRecord[]): void {
  if (configOnly === true && others.some(({ configFrom }) => configFrom === name)) throw new Fault('permissionDenied', `error while removing network: configuration network "${name}" is in use`)
}
