import { serve } from '../sdk/index.ts';

serve((message) => message.payload);
