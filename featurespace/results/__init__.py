"""Results of trainings: tables of runs and of curves, adjustment of runs, and the logs of the published study."""
