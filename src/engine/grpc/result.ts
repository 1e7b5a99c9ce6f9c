/**
 * What a frontend's Solve stands for: a Dockerfile with its contexts, built when somebody needs it. Others may hold a result (it is a
 * context of their own builds); an image that nobody asked for by a name is forgotten with the last of them.
 */
import { isFault } from '#base/fault.ts'
import type { BuildResult } from '../contract/builds.ts'
import type { Images } from '../contract/images.ts'
import type { Attributes } from '../exports/options.ts'
import type { BuildRequest, BuiltRoot, ImageBuilder } from '../http/backend.ts'

export interface ResultOptions {
  readonly id: string
  /** What it is for where clients are given one thing for each platform; empty: there is one. */
  readonly platforms: readonly string[]
  /** What it is for, in any case. */
  readonly targets: readonly string[]
  /** What was asked of the frontend. */
  readonly attributes: Attributes
  readonly builder: ImageBuilder
  readonly images: Pick<Images, 'list' | 'remove' | 'tag'>
  /** A request of its own for each time that something is made of the result: contexts are read once. */
  readonly request: () => Promise<BuildRequest>
  /** Failures as they shall be told. */
  readonly explain: (error: unknown) => unknown
}

export class FrontendResult {
  readonly id: string
  readonly platforms: readonly string[]
  readonly targets: readonly string[]
  readonly attributes: Attributes
  readonly #options: ResultOptions
  #image: Promise<BuildResult> | undefined
  #holders = 1
  /** Others will ask for the image. */
  #isLinked = false
  /** All steps are done, and known by now. */
  #isBuilt = false
  #cacheManifest: BuildResult['cacheManifest']
  /** Images that go with the result. */
  #isTransient: ReadonlySet<string> = new Set()

  constructor(options: ResultOptions) {
    this.id = options.id
    this.platforms = options.platforms
    this.targets = options.targets
    this.attributes = options.attributes
    this.#options = options
  }

  /** Keeps the result, its image to come with it, until `release`. */
  hold(): void {
    this.#holders += 1
    this.#isLinked = true
  }

  /** Answers whether nobody holds it any more. */
  async release(): Promise<boolean> {
    this.#holders -= 1
    if (this.#holders > 0) return false
    if (this.#image !== undefined) await this.#forgetImage(this.#image)
    return true
  }

  async #forgetImage(image: Promise<BuildResult>): Promise<void> {
    const [built] = await Promise.allSettled([image])
    if (built.status === 'rejected') return
    const { images } = this.#options
    const named = new Set((await images.list({ all: true })).filter(({ repoTags, repoDigests }) => repoTags.length + repoDigests.length > 0).map(({ id }) => id))
    for (const { imageId } of built.value.images) {
      if (!this.#isTransient.has(imageId) || named.has(imageId)) continue
      try {
        await images.remove(imageId)
      } catch (error) {
        // It has got a container or a child meanwhile.
        if (!isFault(error)) throw error
      }
    }
  }

  /** Runs all steps; what they make becomes an image only where others need one. */
  async evaluate(): Promise<void> {
    if (this.#isLinked) await this.image()
    else if (!this.#isBuilt) await this.#run({ output: async () => undefined })
  }

  /** Of the cache that the build has written elsewhere. */
  get cacheManifest(): BuildResult['cacheManifest'] {
    return this.#cacheManifest
  }

  get isLinked(): boolean {
    return this.#isLinked
  }

  /** The images, made at most once. Without `keep` they go with the result, but for those that were there before. */
  async image({ tags = [], keep = false }: { readonly tags?: readonly string[]; readonly keep?: boolean } = {}): Promise<BuildResult> {
    const { images } = this.#options
    if (keep) this.#isTransient = new Set()
    if (this.#image !== undefined) {
      const result = await this.#image
      for (const tag of tags) await images.tag(result.images[0]?.imageId ?? '', tag)
      return result
    }
    const before = keep ? undefined : new Set((await images.list({ all: true })).map(({ id }) => id))
    this.#image ??= this.#run({ tags }).then((result) => {
      if (before !== undefined) this.#isTransient = new Set(result.images.map(({ imageId }) => imageId).filter((id) => !before.has(id)))
      return result
    })
    return this.#image
  }

  /** Hands the root file systems over, one for each platform. */
  async handOver(output: (built: readonly BuiltRoot[]) => Promise<void>): Promise<void> {
    await this.#run({ output })
  }

  async #run(change: Pick<BuildRequest, 'output'> | Pick<BuildRequest, 'tags'>): Promise<BuildResult> {
    const { builder, request, explain } = this.#options
    try {
      const asked = await request()
      const result = await builder.build({ ...asked, ...change, ...(this.#isBuilt ? { noCache: false, cacheTo: [] } : {}) })
      this.#isBuilt = true
      this.#cacheManifest ??= result.cacheManifest
      return result
    } catch (error) {
      throw explain(error)
    }
  }
}
