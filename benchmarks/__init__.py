"""The paper's tables and figures, and how fast the engine is; results/ holds what was measured."""
