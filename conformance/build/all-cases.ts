/** All Dockerfiles of the comparison. What the classic builder knows is built a second time by BuildKit, by its rules. */
import { buildCases, type BuildCase } from './cases.ts'
import { moreCases } from './more-cases.ts'

const written: readonly BuildCase[] = [...buildCases, ...moreCases]

export const allBuildCases: readonly BuildCase[] = [...written, ...written.filter(({ buildkit }) => buildkit !== true).map((each): BuildCase => ({ ...each, name: `buildkit: ${each.name}`, buildkit: true }))]
