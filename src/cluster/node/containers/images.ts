/** Brings a container's image to the node as its pull policy says, with the pod's pull secrets (Kubernetes, "Images"). */
import { asFault } from '#base/fault.ts'
import { Secret } from '../../api/core/v1/secret.ts'
import type { Container, EphemeralContainer } from '../../api/core/v1/container.ts'
import type { Pod } from '../../api/core/v1/pod.ts'
import type { RuntimeImage } from '../../contract/runtime.ts'
import type { Parts } from '../agent/parts.ts'

export type ImageOutcome =
  | { readonly image: RuntimeImage; readonly message: string }
  | { readonly reason: 'ErrImagePull' | 'ErrImageNeverPull' | 'InvalidImageName'; readonly message: string }

export async function ensureImage(parts: Parts, pod: Pod, container: Container | EphemeralContainer, options: { readonly signal: AbortSignal; readonly onPulling: () => void }): Promise<ImageOutcome> {
  const reference = container.image ?? ''
  const { runtime, clock, pulls } = parts
  try {
    const present = await runtime.imageStatus(reference)
    if (present !== undefined && container.imagePullPolicy !== 'Always') return { image: present, message: `Container image "${reference}" already present on machine` }
    if (container.imagePullPolicy === 'Never') return { reason: 'ErrImageNeverPull', message: `Container image "${reference}" is not present with pull policy of Never` }
    options.onPulling()
    const askedMs = clock.monotonicMs()
    return await pulls.run(async () => {
      const startedMs = clock.monotonicMs()
      const auth = await credentialsFor(parts, pod, reference)
      const image = await runtime.pull(reference, { signal: options.signal, ...(auth === undefined ? {} : { auth }) })
      const endedMs = clock.monotonicMs()
      const took = `${seconds(endedMs - startedMs)} (${seconds(endedMs - askedMs)} including waiting)`
      return { image, message: `Successfully pulled image "${reference}" in ${took}. Image size: ${image.sizeBytes} bytes.` }
    })
  } catch (error) {
    const fault = asFault(error)
    if (fault.code === 'invalidArgument') return { reason: 'InvalidImageName', message: `Failed to apply default image tag "${reference}": ${fault.message}` }
    return { reason: 'ErrImagePull', message: `Failed to pull image "${reference}": ${fault.message}` }
  }
}

function seconds(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)}ms` : `${(ms / 1000).toFixed(3)}s`
}

async function credentialsFor({ client, log }: Parts, pod: Pod, reference: string): Promise<{ username: string; password: string } | undefined> {
  for (const { name } of pod.spec.imagePullSecrets ?? []) {
    if (name === undefined || name === '') continue
    try {
      const secret = await client.get(Secret, { namespace: pod.metadata.namespace, name })
      const found = parseDockerConfig(secret.data?.['.dockerconfigjson'] ?? '', registryOf(reference))
      if (found !== undefined) return found
    } catch (error) {
      // As upstream: the pull is tried without it, and says what the registry says.
      log.warn({ err: error, secret: name, pod: pod.metadata.name }, 'an image pull secret could not be read')
    }
  }
  return undefined
}

function registryOf(reference: string): string {
  const [first = '', ...rest] = reference.split('/')
  return rest.length > 0 && (/[.:]/.test(first) || first === 'localhost') ? first : 'docker.io'
}

/** The login for a registry in a `kubernetes.io/dockerconfigjson` Secret's data (base64). */
function parseDockerConfig(base64: string, registry: string): { username: string; password: string } | undefined {
  const config: unknown = JSON.parse(Buffer.from(base64, 'base64').toString('utf8') || '{}')
  if (typeof config !== 'object' || config === null || !('auths' in config)) return undefined
  const { auths } = config
  if (typeof auths !== 'object' || auths === null) return undefined
  for (const [host, login] of Object.entries(auths) as [string, unknown][]) {
    const bare = host.replace(/^https?:\/\//, '').replace(/\/.*$/, '')
    if (bare !== registry && !(registry === 'docker.io' && bare === 'index.docker.io')) continue
    if (typeof login !== 'object' || login === null) continue
    if ('username' in login && 'password' in login && typeof login.username === 'string' && typeof login.password === 'string') return { username: login.username, password: login.password }
    if ('auth' in login && typeof login.auth === 'string') {
      const [username = '', ...password] = Buffer.from(login.auth, 'base64').toString('utf8').split(':')
      return { username, password: password.join(':') }
    }
  }
  return undefined
}
