/**
 * What the files of configMap, secret, downwardAPI and projected volumes contain. Pure: objects and tokens are looked up by
 * the caller's functions, so the same code runs at the mount and at every later change (Kubernetes, "Volumes").
 */
import { Fault } from '#base/fault.ts'
import type { ConfigMap } from '../../api/core/v1/config-map.ts'
import type { Secret } from '../../api/core/v1/secret.ts'
import type { Volume } from '../../api/core/v1/volume.ts'
import type { DownwardAPIVolumeFile, KeyToPath } from '../../api/core/v1/volume-projection.ts'
import type { PodFacts } from '../containers/field-ref.ts'
import { fieldValue, resourceValue } from '../containers/field-ref.ts'
import type { TreeFile } from '../ports.ts'

export interface PayloadSources extends PodFacts {
  configMap(name: string): ConfigMap | undefined
  secret(name: string): Secret | undefined
  /** The service account token for a projection that asks for it; the caller has fetched it. */
  token(request: TokenRequest): string
}

export interface TokenRequest {
  readonly audience: string
  readonly expirationSeconds: number
}

type Files = Map<string, TreeFile>

/** The volume's files; undefined for a volume of another kind. A missing object that is not optional is `notFound`. */
export function volumePayload(volume: Volume, sources: PayloadSources): Files | undefined {
  const files: Files = new Map()
  if (volume.configMap !== undefined) {
    const { name = '', items, optional, defaultMode } = volume.configMap
    addObject(files, configMapData(sources.configMap(name)), { what: `configmap "${name}"`, items, optional, defaultMode })
    return files
  }
  if (volume.secret !== undefined) {
    const { secretName = '', items, optional, defaultMode } = volume.secret
    addObject(files, secretData(sources.secret(secretName)), { what: `secret "${secretName}"`, items, optional, defaultMode })
    return files
  }
  if (volume.downwardAPI !== undefined) {
    addDownward(files, volume.downwardAPI.items ?? [], volume.downwardAPI.defaultMode, sources)
    return files
  }
  if (volume.projected === undefined) return undefined
  const { defaultMode } = volume.projected
  for (const { configMap, secret, downwardAPI, serviceAccountToken } of volume.projected.sources) {
    if (configMap !== undefined) addObject(files, configMapData(sources.configMap(configMap.name ?? '')), { what: `configmap "${configMap.name}"`, ...configMap, defaultMode })
    if (secret !== undefined) addObject(files, secretData(sources.secret(secret.name ?? '')), { what: `secret "${secret.name}"`, ...secret, defaultMode })
    if (downwardAPI !== undefined) addDownward(files, downwardAPI.items ?? [], defaultMode, sources)
    if (serviceAccountToken !== undefined) {
      const { audience = '', expirationSeconds, path } = serviceAccountToken
      // Readable by its owner alone where the pod runs as one user; our containers may run as any, as upstream's default mode allows.
      files.set(path, { content: Buffer.from(sources.token({ audience, expirationSeconds })), mode: defaultMode })
    }
  }
  return files
}

function configMapData(found: ConfigMap | undefined): Map<string, Buffer> | undefined {
  if (found === undefined) return undefined
  const data = new Map<string, Buffer>()
  for (const [key, value] of Object.entries(found.data ?? {})) data.set(key, Buffer.from(value, 'utf8'))
  for (const [key, value] of Object.entries(found.binaryData ?? {})) data.set(key, Buffer.from(value, 'base64'))
  return data
}

function secretData(found: Secret | undefined): Map<string, Buffer> | undefined {
  return found === undefined ? undefined : new Map(Object.entries(found.data ?? {}).map(([key, value]) => [key, Buffer.from(value, 'base64')]))
}

interface ObjectOptions {
  readonly what: string
  readonly items?: readonly KeyToPath[] | undefined
  readonly optional?: boolean | undefined
  readonly defaultMode: number
}

function addObject(files: Files, data: Map<string, Buffer> | undefined, { what, items, optional, defaultMode }: ObjectOptions): void {
  if (data === undefined) {
    if (optional === true) return
    throw new Fault('notFound', `${what} not found`)
  }
  if (items === undefined || items.length === 0) {
    for (const [key, content] of data) files.set(key, { content, mode: defaultMode })
    return
  }
  for (const { key, path, mode } of items) {
    const content = data.get(key)
    if (content !== undefined) files.set(path, { content, mode: mode ?? defaultMode })
    else if (optional !== true) throw new Fault('notFound', `${what} references non-existent key: ${key}`)
  }
}

function addDownward(files: Files, items: readonly DownwardAPIVolumeFile[], defaultMode: number, sources: PodFacts): void {
  for (const { path, fieldRef, resourceFieldRef, mode } of items) {
    const text = fieldRef !== undefined ? fieldValue(fieldRef.fieldPath, sources) : resourceFieldRef !== undefined ? resourceValue(resourceFieldRef, '', sources) : ''
    files.set(path, { content: Buffer.from(text, 'utf8'), mode: mode ?? defaultMode })
  }
}

/** Names of the ConfigMaps and Secrets that a volume shows. */
export function volumeReferences(volume: Volume): { kind: 'ConfigMap' | 'Secret'; name: string }[] {
  const found: { kind: 'ConfigMap' | 'Secret'; name: string | undefined }[] = []
  found.push({ kind: 'ConfigMap', name: volume.configMap?.name }, { kind: 'Secret', name: volume.secret?.secretName })
  for (const { configMap, secret } of volume.projected?.sources ?? []) found.push({ kind: 'ConfigMap', name: configMap?.name }, { kind: 'Secret', name: secret?.name })
  return found.flatMap(({ kind, name }) => (name === undefined || name === '' ? [] : [{ kind, name }]))
}

export function tokenRequests(volume: Volume): TokenRequest[] {
  return (volume.projected?.sources ?? []).flatMap(({ serviceAccountToken: token }) => (token === undefined ? [] : [{ audience: token.audience ?? '', expirationSeconds: token.expirationSeconds }]))
}
