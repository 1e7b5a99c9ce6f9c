/** Images that a build names, and layer stacks that it looks into: each is fetched and mounted once for all stages. */
import { mkdir } from 'node:fs/promises'
import { join, posix } from 'node:path'
import { Fault, isFault } from '#base/fault.ts'
import type { ChainId, Image, TransferProgress } from '../contract/images.ts'
import type { BuildRequest } from '../http/backend.ts'
import type { BuilderOptions } from './builder.ts'
import type { Place } from './dockerfile/fault.ts'

export interface RootsOptions {
  readonly buildId: string
  /** The build's own folder. */
  readonly folder: string
  readonly request: BuildRequest
  readonly options: Pick<BuilderOptions, 'images' | 'snapshots'>
  readonly signal: AbortSignal
}

export interface ImageWish {
  readonly platform: string | undefined
  /** Who asks, for the message of a failure: `FROM`. */
  readonly as: string
  readonly at: Place
  readonly onProgress: (progress: TransferProgress) => void
}

export class Roots implements AsyncDisposable {
  readonly #build: RootsOptions
  readonly #images = new Map<string, Promise<Image>>()
  readonly #views = new Map<string, Promise<string>>()

  constructor(build: RootsOptions) {
    this.#build = build
  }

  /** From here, or pulled where it is missing or `pull` was asked. */
  image(reference: string, wish: ImageWish): Promise<Image> {
    const key = `${wish.platform ?? ''} ${reference}`
    const known = this.#images.get(key)
    if (known !== undefined) return known
    const image = this.#image(reference, wish)
    this.#images.set(key, image)
    return image
  }

  async #image(reference: string, { platform, as, at, onProgress }: ImageWish): Promise<Image> {
    const { request, options, signal } = this.#build
    if (!request.pull) {
      try {
        return await options.images.resolve(reference, platform === undefined ? {} : { platform })
      } catch (error) {
        if (!isFault(error, 'notFound')) throw error
      }
    }
    try {
      return await options.images.pull(reference, { auth: await request.credentials(registryOf(reference)), ...(platform === undefined ? {} : { platform, leavesNames: true }), onProgress, signal })
    } catch (error) {
      if (error instanceof Fault) throw new Fault(error.code, `${at.file}:${at.line}: ${as} ${reference}: ${error.message}`, { cause: error, details: error.details })
      throw error
    }
  }

  /** A layer stack mounted read-only for as long as the build lasts. `shifted`: with owners as a remapped command has them. */
  view(chainId: ChainId, { shifted = false }: { readonly shifted?: boolean } = {}): Promise<string> {
    const name = `${chainId} ${shifted}`
    const known = this.#views.get(name)
    if (known !== undefined) return known
    const view = this.#mountView(chainId, this.#views.size, shifted)
    this.#views.set(name, view)
    return view
  }

  async #mountView(chainId: ChainId, index: number, shifted: boolean): Promise<string> {
    const { options, folder, buildId } = this.#build
    const key = `build-${buildId}-view-${index}`
    const target = join(folder, key)
    await mkdir(target)
    await options.snapshots.prepare(key, chainId)
    await options.snapshots.mount(key, target, { readonly: true, shifted })
    return target
  }

  /** When no stage runs any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { snapshots } = this.#build.options
    for (const view of await Promise.allSettled(this.#views.values())) {
      if (view.status === 'rejected') continue
      await snapshots.unmount(view.value)
      await snapshots.remove(posix.basename(view.value))
    }
  }
}

/** As credentials are asked for. */
function registryOf(reference: string): string {
  return /^([^/]+[.:][^/]*|localhost)\//.exec(reference)?.[1] ?? 'https://index.docker.io/v1/'
}
