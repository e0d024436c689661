"""The paper's tables and figures, and the engine's speed; results/ contains the measurements."""
