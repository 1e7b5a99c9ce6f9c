/** All cases, theme by theme. */
import type { CliCase } from '../case.ts'
import { lifecycleCases } from './lifecycle.ts'
import { runFlagCases } from './run-flags.ts'

export const allCases: readonly CliCase[] = [...lifecycleCases, ...runFlagCases]
