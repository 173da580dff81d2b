"""The main job from end to end: two regions, real keys, licences issued, shown, inspected and cheated with."""
