/** What images take on disk together: a layer that several share counts once (`GET /system/df`, `shared-size` of `GET /images/json`). */
import type { Image } from '../contract/images.ts'

interface SharedLayer {
  readonly sizeBytes: number
  readonly images: Set<string>
}

/** Layers by their content, of which the disk has one whatever it lies on (dockerd has one for each base). */
function layersOf(images: readonly Image[]): ReadonlyMap<string, SharedLayer> {
  const layers = new Map<string, SharedLayer>()
  for (const { id, config, layerSizes = [] } of images) {
    for (const [index, diffId] of config.rootfs.diff_ids.entries()) {
      const known = layers.get(diffId)
      if (known === undefined) layers.set(diffId, { sizeBytes: layerSizes[index] ?? 0, images: new Set([id]) })
      else known.images.add(id)
    }
  }
  return layers
}

/** Bytes of all layers, each counted once. */
export function layersSize(images: readonly Image[]): number {
  return [...layersOf(images).values()].reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
}

/** Per image the bytes that it shares with another. */
export function sharedSizes(images: readonly Image[]): ReadonlyMap<string, number> {
  const shared = new Map<string, number>()
  for (const layer of layersOf(images).values()) {
    if (layer.images.size < 2) continue
    for (const id of layer.images) shared.set(id, (shared.get(id) ?? 0) + layer.sizeBytes)
  }
  return shared
}
