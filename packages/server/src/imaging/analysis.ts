/** What an analysis says. The wire type is the client's; here it is also what a stored result holds. */
export type { AnalysisResult } from '@abaton/client';
