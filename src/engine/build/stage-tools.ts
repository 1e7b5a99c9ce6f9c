/** What the steps of one stage work with. */
import type { BuildMaterial } from '../contract/builds.ts'
import type { ChainId } from '../contract/images.ts'
import type { BuildShared } from './build-shared.ts'
import type { Instruction } from './dockerfile/instructions.ts'
import type { Stage } from './dockerfile/stages.ts'
import type { Channel } from './ordered-output.ts'
import { shortId, type StepContext } from './stage-state.ts'
import type { StepLayers } from './step-layers.ts'
import type { FileTree } from './tree.ts'
import type { Vertex } from './vertices.ts'

export interface StageTools {
  readonly shared: BuildShared
  readonly stage: Stage
  readonly context: StepContext
  readonly layers: StepLayers
  /** The classic builder's text. */
  readonly channel: Channel
  readonly sources: ContentSources
  /** Of what the step that runs now takes. */
  readonly note: (material: BuildMaterial) => void
}

/** Other stages, images and contexts, as `from=` names them. */
export interface ContentSources {
  /** `paths`: what is needed of it. */
  contentOf(from: string, at: Instruction, paths: readonly string[]): Promise<Content>
  /** The layers mounted read-only for as long as the build lasts; `shifted`: with owners as a remapped command has them. */
  view(chainId: ChainId, options?: { readonly shifted?: boolean }): Promise<string>
}

export type Content =
  | { readonly kind: 'tree'; readonly tree: FileTree }
  /** Undefined: no files. */
  | { readonly kind: 'layers'; readonly chainId: ChainId | undefined }

/** A step under way, as both sorts of clients see it. */
export class StepReport {
  readonly vertex: Vertex
  readonly #channel: Channel
  #isCached = false

  constructor(vertex: Vertex, channel: Channel) {
    this.vertex = vertex
    this.#channel = channel
  }

  readonly cached = (): void => {
    this.#isCached = true
    this.#channel.text(' ---> Using cache\n')
  }

  /** The step stands; `id` is that of its layers. */
  done(id: string | undefined): void {
    this.#channel.text(id === undefined ? ' ---> \n' : ` ---> ${shortId(id)}\n`)
    this.vertex.end({ cached: this.#isCached })
  }
}
