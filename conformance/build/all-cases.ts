/** All Dockerfiles of the comparison. What the classic builder knows is built a second time by BuildKit, by its rules. */
import { buildCases, type BuildCase } from './cases.ts'
import { flagCases } from './flag-cases.ts'
import { moreCases } from './more-cases.ts'

const written: readonly BuildCase[] = [...buildCases, ...moreCases, ...flagCases]

export const allBuildCases: readonly BuildCase[] = [...written, ...written.filter(({ buildkit, classicAlone }) => buildkit !== true && classicAlone !== true).map((each): BuildCase => ({ ...each, name: `buildkit: ${each.name}`, buildkit: true, differs: each.twinDiffers ?? {} }))]
