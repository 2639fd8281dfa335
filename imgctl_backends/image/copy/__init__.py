"""The copy engine: plan, stage, publish and verify one image."""
