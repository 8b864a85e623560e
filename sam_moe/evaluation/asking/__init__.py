"""Systems are prompted case by case: protocols, targets, answers, and one file a finished case."""
