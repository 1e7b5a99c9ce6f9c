/**
 * Compiled seccomp filters, one per profile. crun takes a ready-made filter by annotation (crun(1), `run.oci.seccomp_bpf_data`);
 * translating the default profile anew for each container would be half of its start.
 */
import type { Logger } from '#base/log.ts'
import type { SeccompCompiler } from '#linux/contract/seccomp.ts'
import type { RuntimeSpec, SeccompSpec } from '../contract/runtime-spec.ts'

const annotation = 'run.oci.seccomp_bpf_data'
/** Profiles differ by capability set; few are in use at a time. */
const mostFilters = 32

export class FilterCache {
  readonly #compiler: SeccompCompiler
  readonly #enabled: boolean
  readonly #log: Logger
  /** By profile, least recently used first. undefined: cannot be compiled, the runtime shall try. */
  readonly #filters = new Map<string, Promise<string | undefined>>()

  constructor(parts: { readonly compiler: SeccompCompiler; readonly enabled: boolean; readonly log: Logger }) {
    this.#compiler = parts.compiler
    this.#enabled = parts.enabled
    this.#log = parts.log
  }

  /** The spec with its profile replaced by the filter, where that is possible. */
  async applied(spec: RuntimeSpec): Promise<RuntimeSpec> {
    const { seccomp, ...linux } = spec.linux
    if (!this.#enabled || seccomp === undefined) return spec
    const filter = await this.#filter(seccomp)
    if (filter === undefined) return spec
    // crun looks at the annotation only where there is a seccomp section.
    const marker: SeccompSpec = { defaultAction: seccomp.defaultAction }
    return { ...spec, annotations: { ...spec.annotations, [annotation]: filter }, linux: { ...linux, seccomp: marker } }
  }

  #filter(profile: SeccompSpec): Promise<string | undefined> {
    const key = JSON.stringify(profile)
    const known = this.#filters.get(key)
    this.#filters.delete(key)
    const filter = known ?? this.#compile(profile)
    this.#filters.set(key, filter)
    const [oldest] = this.#filters.keys()
    if (this.#filters.size > mostFilters && oldest !== undefined) this.#filters.delete(oldest)
    return filter
  }

  async #compile(profile: SeccompSpec): Promise<string | undefined> {
    try {
      return (await this.#compiler.compile(profile)).toString('base64')
    } catch (error) {
      this.#log.warn({ error: String(error) }, 'a seccomp profile could not be compiled ahead of time: the runtime compiles it for each container')
      return undefined
    }
  }
}
