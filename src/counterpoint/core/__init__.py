"""The words everything else is said in. Imports torch and nothing of ours."""
