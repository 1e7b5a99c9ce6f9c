/** Rules of containers (Kubernetes reference, "Container v1 core"): images, ports, environment, mounts, resources, probes. */
import type { FaultCause } from '#base/fault.ts'
import { duplicate, forbidden, invalid, notFound, required } from '#schema/cause.ts'
import { compareQuantities, quantityOf } from '#schema/quantity.ts'
import { formatProblem } from '#schema/text-formats.ts'
import type { Container, ContainerPort, VolumeMount } from './container.ts'
import type { EnvFromSource, EnvVar } from './env.ts'
import type { HTTPGetAction, LifecycleHandler, Probe } from './probe.ts'
import type { ResourceRequirements } from './resources.ts'

export interface ContainerSurroundings {
  readonly volumeNames: ReadonlySet<string>
  readonly hostNetwork: boolean
  /** Plain init containers run to completion: no probes, no hooks. */
  readonly runsToCompletion: boolean
}

export function containerRules(container: Container, path: string, around: ContainerSurroundings): readonly FaultCause[] {
  const { image, ports = [], env = [], envFrom = [], volumeMounts = [], securityContext } = container
  const causes: FaultCause[] = []
  if (image === undefined) causes.push(required(`${path}.image`))
  else if (image !== image.trim()) causes.push(invalid(`${path}.image`, image, 'must not have leading or trailing whitespace'))
  causes.push(...portRules(ports, `${path}.ports`, around.hostNetwork))
  causes.push(...env.flatMap((variable, index) => envRules(variable, `${path}.env[${index}]`)))
  causes.push(...envFrom.flatMap((source, index) => envFromRules(source, `${path}.envFrom[${index}]`)))
  causes.push(...mountRules(volumeMounts, `${path}.volumeMounts`, around.volumeNames))
  causes.push(...resourceRules(container.resources, `${path}.resources`))
  causes.push(...(around.runsToCompletion ? noProbes(container, path) : lifecycleRules(container, path)))
  if (securityContext?.privileged === true && securityContext.allowPrivilegeEscalation === false) {
    causes.push(invalid(`${path}.securityContext`, securityContext, 'cannot set `allowPrivilegeEscalation` to false and `privileged` to true'))
  }
  return causes
}

function portRules(ports: readonly ContainerPort[], path: string, hostNetwork: boolean): FaultCause[] {
  const names = new Set<string>()
  return ports.flatMap((port, index) => {
    const causes: FaultCause[] = []
    const at = `${path}[${index}]`
    if (port.name !== undefined && names.has(port.name)) causes.push(duplicate(`${at}.name`, port.name))
    if (port.name !== undefined) names.add(port.name)
    if (hostNetwork && port.hostPort !== undefined && port.hostPort !== port.containerPort) {
      causes.push(invalid(`${at}.hostPort`, port.hostPort, 'must match `containerPort` when `hostNetwork` is true'))
    }
    if (port.hostIP !== undefined && formatProblem('ip', port.hostIP) !== undefined) causes.push(invalid(`${at}.hostIP`, port.hostIP, formatProblem('ip', port.hostIP) ?? ''))
    return causes
  })
}

function envRules(variable: EnvVar, path: string): FaultCause[] {
  const source = variable.valueFrom
  if (source === undefined) return []
  const given = Object.keys(source).length
  if (given === 0) return [invalid(`${path}.valueFrom`, '', 'must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`')]
  if (given > 1) return [invalid(`${path}.valueFrom`, '', 'may not have more than one field specified at a time')]
  if (variable.value !== undefined) return [invalid(`${path}.valueFrom`, '', 'may not be specified when `value` is not empty')]
  const { configMapKeyRef, secretKeyRef } = source
  return [
    ...(configMapKeyRef !== undefined && configMapKeyRef.name === undefined ? [required(`${path}.valueFrom.configMapKeyRef.name`)] : []),
    ...(secretKeyRef !== undefined && secretKeyRef.name === undefined ? [required(`${path}.valueFrom.secretKeyRef.name`)] : []),
  ]
}

function envFromRules(source: EnvFromSource, path: string): FaultCause[] {
  const { configMapRef, secretRef } = source
  if (configMapRef === undefined && secretRef === undefined) return [invalid(path, '', 'must specify one of: `configMapRef` or `secretRef`')]
  if (configMapRef !== undefined && secretRef !== undefined) return [invalid(path, '', 'may not have more than one field specified at a time')]
  const name = configMapRef?.name ?? secretRef?.name
  return name === undefined ? [required(`${path}.${configMapRef === undefined ? 'secretRef' : 'configMapRef'}.name`)] : []
}

function mountRules(mounts: readonly VolumeMount[], path: string, volumeNames: ReadonlySet<string>): FaultCause[] {
  const paths = new Set<string>()
  return mounts.flatMap((mount, index) => {
    const at = `${path}[${index}]`
    const causes: FaultCause[] = []
    if (!volumeNames.has(mount.name)) causes.push(notFound(`${at}.name`, mount.name))
    if (paths.has(mount.mountPath)) causes.push(invalid(`${at}.mountPath`, mount.mountPath, 'must be unique'))
    paths.add(mount.mountPath)
    if (mount.mountPath.includes(':')) causes.push(invalid(`${at}.mountPath`, mount.mountPath, "must not contain ':'"))
    if (mount.subPath !== undefined) causes.push(...localPathRules(mount.subPath, `${at}.subPath`))
    if (mount.subPathExpr !== undefined) causes.push(...localPathRules(mount.subPathExpr, `${at}.subPathExpr`))
    if (mount.subPath !== undefined && mount.subPathExpr !== undefined) causes.push(invalid(`${at}.subPathExpr`, mount.subPathExpr, 'subPathExpr and subPath are mutually exclusive'))
    return causes
  })
}

/** A path inside a volume: relative, and never upwards. */
export function localPathRules(local: string, path: string): FaultCause[] {
  const causes: FaultCause[] = []
  if (local.startsWith('/')) causes.push(invalid(path, local, 'must be a relative path'))
  if (local.split('/').includes('..')) causes.push(invalid(path, local, "must not contain '..'"))
  return causes
}

const plainResources: ReadonlySet<string> = new Set(['cpu', 'memory', 'ephemeral-storage'])

export function resourceRules(resources: ResourceRequirements, path: string): FaultCause[] {
  const { limits = {}, requests = {} } = resources
  const causes = [...amountRules(limits, `${path}.limits`), ...amountRules(requests, `${path}.requests`)]
  for (const [name, request] of Object.entries(requests)) {
    const limit = limits[name]
    if (limit !== undefined && compareQuantities(quantityOf(request), quantityOf(limit)) > 0) {
      causes.push(invalid(`${path}.requests`, request, `must be less than or equal to ${name} limit of ${limit}`))
    }
  }
  return causes
}

function amountRules(amounts: { readonly [name: string]: string }, path: string): FaultCause[] {
  return Object.entries(amounts).flatMap(([name, amount]) => {
    const causes: FaultCause[] = []
    const standard = plainResources.has(name) || name.startsWith('hugepages-')
    if (formatProblem('qualifiedName', name) !== undefined) causes.push(invalid(`${path}[${name}]`, name, formatProblem('qualifiedName', name) ?? ''))
    else if (!standard && !name.includes('/')) causes.push(invalid(`${path}[${name}]`, name, 'must be a standard resource for containers'))
    if (quantityOf(amount).nanos < 0n) causes.push(invalid(`${path}[${name}]`, amount, 'must be greater than or equal to 0'))
    return causes
  })
}

function noProbes(container: Container, path: string): FaultCause[] {
  const hooks = ['lifecycle', 'livenessProbe', 'readinessProbe', 'startupProbe'] as const
  return hooks.filter((hook) => container[hook] !== undefined).map((hook) => forbidden(`${path}.${hook}`, 'may not be set for init containers without restartPolicy=Always'))
}

function lifecycleRules(container: Container, path: string): FaultCause[] {
  const { livenessProbe, readinessProbe, startupProbe, lifecycle } = container
  const causes: FaultCause[] = []
  if (livenessProbe !== undefined) causes.push(...probeRules(livenessProbe, `${path}.livenessProbe`), ...onlyOneSuccess(livenessProbe, `${path}.livenessProbe`))
  if (startupProbe !== undefined) causes.push(...probeRules(startupProbe, `${path}.startupProbe`), ...onlyOneSuccess(startupProbe, `${path}.startupProbe`))
  if (readinessProbe !== undefined) causes.push(...probeRules(readinessProbe, `${path}.readinessProbe`))
  if (readinessProbe?.terminationGracePeriodSeconds !== undefined) {
    causes.push(invalid(`${path}.readinessProbe.terminationGracePeriodSeconds`, readinessProbe.terminationGracePeriodSeconds, 'must not be set for readinessProbes'))
  }
  if (lifecycle?.postStart !== undefined) causes.push(...handlerRules(lifecycle.postStart, `${path}.lifecycle.postStart`))
  if (lifecycle?.preStop !== undefined) causes.push(...handlerRules(lifecycle.preStop, `${path}.lifecycle.preStop`))
  return causes
}

function onlyOneSuccess(probe: Probe, path: string): FaultCause[] {
  return probe.successThreshold === 1 ? [] : [invalid(`${path}.successThreshold`, probe.successThreshold, 'must be 1')]
}

function probeRules(probe: Probe, path: string): FaultCause[] {
  const { exec, httpGet, tcpSocket, grpc } = probe
  return actionRules({ exec, httpGet, tcpSocket, grpc }, path)
}

function handlerRules(handler: LifecycleHandler, path: string): FaultCause[] {
  const { exec, httpGet, tcpSocket, sleep } = handler
  return actionRules({ exec, httpGet, tcpSocket, sleep }, path)
}

interface Actions extends Pick<Probe, 'exec' | 'httpGet' | 'tcpSocket' | 'grpc'>, Pick<LifecycleHandler, 'sleep'> {}

function actionRules(actions: Actions, path: string): FaultCause[] {
  const given = Object.entries(actions).filter(([, action]) => action !== undefined)
  if (given.length === 0) return [required(path, 'must specify a handler type')]
  const extra = given.slice(1).map(([name]) => forbidden(`${path}.${name}`, 'may not specify more than 1 handler type'))
  const { exec, httpGet, tcpSocket } = actions
  return [
    ...extra,
    ...(exec !== undefined && (exec.command ?? []).length === 0 ? [required(`${path}.exec.command`)] : []),
    ...(httpGet === undefined ? [] : httpGetRules(httpGet, `${path}.httpGet`)),
    ...(tcpSocket === undefined ? [] : targetPortRules(tcpSocket.port, `${path}.tcpSocket.port`)),
  ]
}

function httpGetRules(action: HTTPGetAction, path: string): FaultCause[] {
  const bad = (action.httpHeaders ?? []).flatMap(({ name }, index) =>
    /^[-!#$%&'*+.^_`|~A-Za-z0-9]+$/.test(name) ? [] : [invalid(`${path}.httpHeaders[${index}].name`, name, 'a valid HTTP header must consist of alphanumeric characters or \'-\' (e.g. \'X-Header-Name\')')],
  )
  return [...targetPortRules(action.port, `${path}.port`), ...bad]
}

/** A port number, or the name of a container port. */
export function targetPortRules(port: number | string, path: string): FaultCause[] {
  if (typeof port === 'number') return port >= 1 && port <= 65_535 ? [] : [invalid(path, port, 'must be between 1 and 65535, inclusive')]
  const problem = formatProblem('portName', port)
  return problem === undefined ? [] : [invalid(path, port, problem)]
}
