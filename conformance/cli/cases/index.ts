/** All cases, theme by theme. */
import type { CliCase } from '../case.ts'
import { buildCases } from './build.ts'
import { imageCases } from './images.ts'
import { lifecycleCases } from './lifecycle.ts'
import { networkCases } from './networks.ts'
import { runFlagCases } from './run-flags.ts'
import { streamCases } from './streams.ts'
import { systemCases } from './system.ts'
import { volumeCases } from './volumes.ts'

export const allCases: readonly CliCase[] = [...lifecycleCases, ...runFlagCases, ...imageCases, ...buildCases, ...networkCases, ...volumeCases, ...systemCases, ...streamCases]
