/** Rules of volumes (Kubernetes reference, "Volume v1 core"): one source each, sources complete, paths inside the volume. */
import type { FaultCause } from '#base/fault.ts'
import { duplicate, forbidden, invalid, required } from '#schema/cause.ts'
import { localPathRules } from './container-rules.ts'
import type { KeyToPath, ProjectedVolumeSource, VolumeProjection } from './volume-projection.ts'
import type { Volume } from './volume.ts'

export function volumeRules(volumes: readonly Volume[], path: string): FaultCause[] {
  const names = new Set<string>()
  return volumes.flatMap((volume, index) => {
    const at = `${path}[${index}]`
    const causes = sourceRules(volume, at)
    if (names.has(volume.name)) causes.push(duplicate(`${at}.name`, volume.name))
    names.add(volume.name)
    return causes
  })
}

function sourceRules(volume: Volume, path: string): FaultCause[] {
  const { name: _name, ...sources } = volume
  const given = Object.entries(sources).filter(([, source]) => source !== undefined)
  if (given.length === 0) return [required(path, 'must specify a volume type')]
  const causes = given.slice(1).map(([type]) => forbidden(`${path}.${type}`, 'may not specify more than 1 volume type'))
  const { hostPath, secret, configMap, downwardAPI, projected, ephemeral } = volume
  if (hostPath?.path.split('/').includes('..') === true) causes.push(invalid(`${path}.hostPath.path`, hostPath.path, "must not contain '..'"))
  if (secret !== undefined && secret.secretName === undefined) causes.push(required(`${path}.secret.secretName`))
  if (configMap !== undefined && configMap.name === undefined) causes.push(required(`${path}.configMap.name`))
  causes.push(...itemRules(secret?.items, `${path}.secret.items`), ...itemRules(configMap?.items, `${path}.configMap.items`))
  for (const [index, file] of (downwardAPI?.items ?? []).entries()) causes.push(...localPathRules(file.path, `${path}.downwardAPI.items[${index}].path`))
  if (projected !== undefined) causes.push(...projectedRules(projected, `${path}.projected`))
  if (ephemeral !== undefined && ephemeral.volumeClaimTemplate === undefined) causes.push(required(`${path}.ephemeral.volumeClaimTemplate`))
  return causes
}

function itemRules(items: readonly KeyToPath[] | undefined, path: string): FaultCause[] {
  return (items ?? []).flatMap((item, index) => localPathRules(item.path, `${path}[${index}].path`))
}

function projectedRules(projected: ProjectedVolumeSource, path: string): FaultCause[] {
  const paths = new Set<string>()
  return projected.sources.flatMap((source, index) => {
    const at = `${path}.sources[${index}]`
    const kinds = Object.values(source).filter((projection) => projection !== undefined).length
    if (kinds === 0) return [required(at, 'must specify a projection type')]
    const causes: FaultCause[] = kinds > 1 ? [forbidden(at, 'may not specify more than 1 volume type')] : []
    for (const file of projectedPaths(source)) {
      causes.push(...localPathRules(file, at))
      if (paths.has(file)) causes.push(invalid(at, file, 'conflicting duplicate paths'))
      paths.add(file)
    }
    return causes
  })
}

function projectedPaths(source: VolumeProjection): string[] {
  const items = [...(source.secret?.items ?? []), ...(source.configMap?.items ?? []), ...(source.downwardAPI?.items ?? [])]
  const token = source.serviceAccountToken?.path
  return [...items.map(({ path }) => path), ...(token === undefined ? [] : [token])]
}
